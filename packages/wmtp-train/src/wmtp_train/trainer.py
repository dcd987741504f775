"""The trainer ``mtp-v1``: from a request to a trained model, in this process alone or with others."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch

import wmtp
from wmtp.events import Emitter, RunFinished, StepLogged
from wmtp_train.folder import TrainingFolder, read_json, write_json, write_text
from wmtp_train.loop import Loop, TrainingResult, latest, over
from wmtp_train.plan import Plan, TrainingRequest, make_plan
from wmtp_train.processes import Processes, Signals, joined, shard, threads
from wmtp_train.uploads import Uploads

log = logging.getLogger("wmtp.train")


@attrs.frozen(kw_only=True, eq=False)
class Training:
    """What a trainer's `train` takes beside the request: how this session shall go.

    Attributes:
        resume: ``auto`` goes on from the newest whole checkpoint; ``never`` moves what is there aside and begins anew.
        listeners: Hear the training's events, beside observers and trackers.
    """

    request: TrainingRequest
    resume: str = "auto"
    listeners: tuple[tuple[str, Any], ...] = ()


def train(training: Training) -> TrainingResult:
    """Trains to the end, or until a signal. Every process of a group calls it.

    Raises:
        WmtpError: What the user can mend, before the first step wherever that is possible.
    """
    request = training.request
    folder = TrainingFolder(request.folder)
    with threads(request.config.devices.threads), joined(request.device) as processes, _memory():
        request = attrs.evolve(request, device=processes.device)
        plan = _together(processes, lambda: make_plan(request, world=processes.world))
        if not processes.same(plan.key):
            raise wmtp.ConfigError("the processes have found different models or data; they must see the same files")
        holding = folder.held() if processes.first else _nothing()
        with holding:
            if processes.first:
                _settle(folder, plan, training.resume, request)
            processes.wait()
            return _session(plan, processes, folder, training)


@contextmanager
def _memory() -> Iterator[None]:
    """Says in a sentence that memory is not enough; on a CPU the library has no class for that error."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "can't allocate memory" not in str(error):
            raise
        raise wmtp.WmtpError(
            f"memory is not enough for this training: {str(error).splitlines()[0]}. Lower train.micro_batch_size, max_length "
            "or train.lora.rank, set train.activation_checkpointing, or share the weights between processes (--processes)."
        ) from error


def _session(plan: Plan, processes: Processes, folder: TrainingFolder, training: Training) -> TrainingResult:
    request = training.request
    checkpoint = processes.of_first(lambda: latest(folder, plan.key))
    uploads = _uploads(plan, request, folder) if processes.first else None
    if checkpoint is not None and (ending := over(checkpoint, plan.steps)):
        _finish(uploads)
        return TrainingResult(folder=folder.path, step=checkpoint.step, steps=plan.steps, ending=ending)
    train = plan.sections.train
    if train.activation_checkpointing:
        plan.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    shard(plan.model, processes)
    started = request.started()
    heard: list[tuple[str, Any]] = []
    if processes.first:
        heard = [*wmtp.run_listeners(request.plugins, request.config, started), *training.listeners]
    with Emitter(heard) as emitter, Signals().heard() as signals:
        emitter.emit(started)
        ended = partial(RunFinished, name=started.name, kind=started.kind, folder=started.folder)
        try:
            loop = Loop(plan, processes, folder, _told(emitter.emit, request), signals, uploads)
            result = loop.run(loop.resume(checkpoint))
            _finish(uploads)
            if processes.first:
                loop.tidy()
        except BaseException as error:
            emitter.emit(ended(error=error))
            raise
        emitter.emit(ended())
        return result


def _finish(uploads: Uploads | None) -> None:
    if uploads is not None:
        uploads.finish()


def _told(emit: Callable[[Any], None], request: TrainingRequest) -> Callable[[Any], None]:
    """What a stage of another training says of itself: its numbers, under its own name."""
    if request.part_of is None:
        return emit
    stage = request.recipe.run.name

    def of_stage(event: Any) -> None:
        if isinstance(event, StepLogged):
            emit(attrs.evolve(event, values={f"{stage}/{name}": value for name, value in event.values.items()}))

    return of_stage


def _settle(folder: TrainingFolder, plan: Plan, resume: str, request: TrainingRequest) -> None:
    """Makes the folder this training's. Raises ConfigError where it is another's."""
    if resume == "never" and (aside := folder.set_aside()):
        log.warning("what was in %s is in %s now", folder.path, aside)
    if folder.plan.exists():
        _check_same(folder, plan)
    else:
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(folder.plan, {"key": plan.key, "identity": plan.identity, "heads": plan.heads})
    folder.clear_partial()
    for name, record in (("config.yaml", request.config), ("recipe.yaml", request.recipe)):
        write_text(request.folder / name, wmtp.to_yaml(record))


def _check_same(folder: TrainingFolder, plan: Plan) -> None:
    before: dict[str, Any] = read_json(folder.plan)
    if before.get("key") == plan.key:
        return
    identity = before.get("identity", {})
    if not isinstance(identity, Mapping):
        raise wmtp.ConfigError(f"{folder.plan}: damaged: its identity is no object")
    known, now = _flat(identity), _flat(json.loads(json.dumps(plan.identity)))
    changed = [
        f"  {name}: {_short(known.get(name))} → {_short(now.get(name))}"
        for name in sorted({*known, *now})
        if known.get(name) != now.get(name)
    ]
    raise wmtp.ConfigError(
        f"the training in {folder.path} is another one, and is left as it is. What changed:\n"
        + "\n".join(changed)
        + "\nUse another run.name (--set run.name=…), or --resume never to begin anew: what is there is moved aside."
    )


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of sections one by one: ``optim.lr``."""
    found: dict[str, Any] = {}
    for name, value in identity.items():
        found |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _together(processes: Processes, make: Callable[[], Plan]) -> Plan:
    """The first process finds and fetches before the others do, so that nothing is downloaded twice."""
    if processes.first:
        plan = make()
        processes.wait()
        return plan
    processes.wait()
    return make()


def _uploads(plan: Plan, request: TrainingRequest, folder: TrainingFolder) -> Uploads | None:
    """Puts whole checkpoints where the recipe wants them."""
    to = plan.sections.checkpoint.upload
    if to is None:
        return None
    above = "" if request.part_of is None else f"{request.part_of.recipe.run.name}/"
    url = f"{to.rstrip('/')}/{above}{request.recipe.run.name}"

    def send(path: Path, url: str) -> None:
        wmtp.upload_folder(path, url, request.config, plugins=request.plugins)

    return Uploads(folder, url, send)


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()
