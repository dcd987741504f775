"""The loop of ``mtp-v1``: steps, journal, validation, checkpoints, and how a training ends."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import attrs
import torch

import wmtp
from wmtp.events import CheckpointSaved, StepLogged
from wmtp_train import schedule, state
from wmtp_train.folder import Checkpoint, TrainingFolder, faults_of
from wmtp_train.journal import Journal
from wmtp_train.plan import Plan
from wmtp_train.processes import Processes, Signals
from wmtp_train.step import NotFinite, Stepper, Sums
from wmtp_train.uploads import Uploads

log = logging.getLogger("wmtp.train")
Ending = Literal["finished", "stopped", "early"]


@attrs.frozen(kw_only=True)
class TrainingResult:
    """How a training ended.

    Attributes:
        step: Steps that were done, sessions before this one included. steps: of the whole training.
        ending: ``finished``, ``early`` (the validation loss stopped falling), or ``stopped`` (by a signal; it goes on later).
    """

    folder: Path
    step: int
    steps: int
    ending: Ending


@attrs.define
class Progress:
    """What a checkpoint keeps beside tensors: plain numbers.

    Attributes:
        best: Lowest validation loss. waited: validations since then. eval_loss: the latest validation loss.
        ended: Early stopping has spoken.
    """

    best: float | None = None
    waited: int = 0
    eval_loss: float | None = None
    ended: bool = False


class Loop:
    """One session of a training."""

    def __init__(
        self,
        plan: Plan,
        processes: Processes,
        folder: TrainingFolder,
        emit: Callable[[Any], None],
        signals: Signals,
        uploads: Uploads | None = None,
    ) -> None:
        self._plan, self._processes, self._folder = plan, processes, folder
        self._emit, self._signals, self._uploads = emit, signals, uploads
        sections = plan.sections
        optim = sections.optim
        self._optimiser = state.adamw(
            plan.model, lr=optim.lr, betas=optim.betas, eps=optim.eps, decay=optim.weight_decay
        )
        self._ema = state.Ema(plan.model, sections.train.ema) if sections.train.ema is not None else None
        self._stepper = Stepper(plan, processes)
        self._saver = state.Saver(folder, processes, asynchronous=sections.checkpoint.asynchronous)
        self._progress = Progress()
        self._saved = 0
        self._journal: Journal | None = None

    def resume(self, checkpoint: Checkpoint | None) -> int:
        """Goes on from a checkpoint. Returns the steps that are done."""
        if checkpoint is None:
            return 0
        state.load(checkpoint, state.contents(self._plan.model, self._optimiser, self._ema), self._processes)
        self._progress = Progress(**checkpoint.state["progress"])
        self._plan.weigher.load_state_dict(checkpoint.state["scorer"])
        self._saved = checkpoint.step
        if checkpoint.state["world"] != self._processes.world and self._processes.first:
            log.warning(
                "the checkpoint was written by %d processes and %d go on: the same rows at each step, equal up to rounding",
                checkpoint.state["world"],
                self._processes.world,
            )
        threads = torch.get_num_threads()
        if checkpoint.state.get("threads", threads) != threads and self._processes.first:
            log.warning(
                "the checkpoint was written on %d threads and %d go on: equal up to rounding (devices.threads)",
                checkpoint.state["threads"],
                threads,
            )
        return checkpoint.step

    def run(self, step: int) -> TrainingResult:
        """Trains from `step` on until the end, or until a signal ends the session."""
        plan = self._plan
        plan.model.train()
        self._journal = Journal(self._folder.journal, step) if self._processes.first else None
        ending: Ending = "early" if self._progress.ended else "finished"
        try:
            while step < plan.steps and not self._progress.ended:
                if self._processes.agree(self._signals.stop):
                    ending = "stopped"
                    break
                self._one(step)
                step += 1
                self._after(step)
                ending = "early" if self._progress.ended else "finished"
            if step > self._saved:
                self._save(step, passing=ending == "stopped")
            self._take(self._saver.finish())
        finally:
            if self._journal is not None:
                self._journal.close()
        return TrainingResult(folder=self._folder.path, step=step, steps=plan.steps, ending=ending)

    def _one(self, step: int) -> None:
        """One step: gradient, clipping, weights, journal."""
        plan, sections = self._plan, self._plan.sections
        rate = schedule.learning_rate(step, sections.optim, plan.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        coefficients = schedule.coefficients(step, sections.train.heads, plan.heads)
        started = time.monotonic()
        values: dict[str, float] = {"train/lr": rate}
        try:
            sums = self._stepper.gradient(step, coefficients)
        except NotFinite as fault:
            self._not_finite(step, fault)
            self._write(step + 1, {**values, "train/skipped": 1.0})
            return
        norm = values["train/grad_norm"] = self._clip()
        if not math.isfinite(norm):  # the same number on every process
            self._not_finite(step, NotFinite(self._stepper.rows_of(step), "gradient"))
            self._write(step + 1, {**values, "train/skipped": 1.0})
            return
        tokens = self._processes.sum(torch.tensor(sums.tokens, device=self._processes.device))
        self._stepper.update_scorer(sums)
        self._optimiser.step()
        self._optimiser.zero_grad()
        if self._ema is not None:
            self._ema.update()
        sums.gathered(self._processes)
        if (step + 1) % sections.train.log_every == 0 or step + 1 == plan.steps:
            values |= _shown(sums, coefficients)
            values["perf/tokens_per_second"] = int(tokens) / max(time.monotonic() - started, 1e-9)
            self._write(step + 1, values)

    def _clip(self) -> float:
        """Scales the gradient down to the norm that the recipe allows; returns the norm before."""
        limit = self._plan.sections.optim.grad_clip
        parameters = [p for p in self._plan.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf") if limit is None else limit)
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # a shard's own norm is another number
        return float(whole)

    def _not_finite(self, step: int, fault: NotFinite) -> None:
        """A loss or gradient that is not a number: the rows are written down, and the step is left out or the training ends."""
        self._optimiser.zero_grad()
        names = self._plan.rows.names(fault.rows)
        note = {"step": step + 1, "rank": self._processes.rank, "rows": fault.rows, "examples": names}
        path = self._folder.path / f"not-finite-{step + 1:08d}-{self._processes.rank}.json"
        path.write_text(json.dumps(note, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        if self._plan.sections.train.on_nan == "stop":
            if self._saved < step:
                self._save(step)
            self._take(self._saver.finish())
            raise wmtp.WmtpError(
                f"the {fault.what} of step {step + 1} is not a number; the weights are those of step {step}{self._beyond()}. "
                f"Its rows are in {path}. Lower optim.lr, look at these rows, or set train.on_nan: skip."
            )
        log.warning("step %d is left out: its %s is not a number (%s)", step + 1, fault.what, path)

    def _beyond(self) -> str:
        """Which weights are no numbers themselves: such a model was broken before."""
        model = self._plan.model
        broken = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(_local(weight)).all())]
        return f", and not all of them are numbers themselves ({broken[0]})" if broken else ""

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._journal is not None:
            self._journal.write(step, values)
            self._emit(StepLogged(step=step, values=values))

    def _after(self, step: int) -> None:
        """What a finished step is followed by: validation, checkpoint, early stopping."""
        train, every = self._plan.sections.train, self._plan.sections.checkpoint.every
        last = step == self._plan.steps
        if self._plan.eval_rows is not None and train.eval_every and (step % train.eval_every == 0 or last):
            self._validate(step)
        wished = self._processes.agree(self._signals.save)
        if step % every == 0 or last or wished or self._progress.ended:
            self._signals.save = False
            self._save(step)

    def _validate(self, step: int) -> None:
        plan = self._plan
        assert plan.eval_rows is not None
        coefficients = schedule.coefficients(plan.steps, plan.sections.train.heads, plan.heads)
        sums = self._stepper.validate(plan.eval_rows, coefficients, lambda: self._signals.stop)
        if sums is None:
            return
        values = {name: value for name, value in sums.values("eval").items() if "weighted" not in name}
        loss = sum(c * values.get(f"eval/ce_head_{head}", 0.0) for head, c in enumerate(coefficients))
        progress, stopping = self._progress, plan.sections.train.early_stopping
        progress.eval_loss = loss
        if progress.best is None or loss < progress.best - (stopping.min_delta if stopping else 0.0):
            progress.best, progress.waited = loss, 0
        else:
            progress.waited += 1
        progress.ended = stopping is not None and progress.waited >= stopping.patience
        self._write(step, {"eval/loss": loss, **values})

    def _save(self, step: int, *, passing: bool = False) -> None:
        """Begins a checkpoint. passing: only to go on from; a stop changes nothing of what a training ends with."""
        if self._journal is not None:
            self._journal.sync()
        meta = {
            "key": self._plan.key,
            "world": self._processes.world,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "progress": attrs.asdict(self._progress),
            "eval_loss": self._progress.eval_loss,
            "scorer": self._plan.weigher.state_dict(),
            "passing": passing,
        }
        tensors = state.contents(self._plan.model, self._optimiser, self._ema)
        self._saved = step
        self._take(self._saver.begin(step, meta, tensors))

    def _take(self, whole: Checkpoint | None) -> None:
        """A checkpoint has become whole."""
        if whole is None:
            return
        self._emit(CheckpointSaved(step=whole.step, path=whole.path))
        if self._uploads is not None:
            self._uploads.add(whole)
        self.tidy()

    def tidy(self) -> None:
        """Removes checkpoints that the recipe does not keep, once they are where it wants them."""
        keep = self._plan.sections.checkpoint
        self._folder.keep(keep.keep_last, keep.keep_best, self._uploads.pending if self._uploads is not None else ())


def _local(weight: torch.Tensor) -> torch.Tensor:
    """What this process has of it."""
    mine: torch.Tensor = weight.to_local() if hasattr(weight, "to_local") else weight
    return mine.detach()


def _shown(sums: Sums, coefficients: list[float]) -> dict[str, float]:
    values = sums.values("train")
    loss = sum(c * values.get(f"train/weighted_ce_head_{head}", 0.0) for head, c in enumerate(coefficients))
    return {"train/loss": loss, **values, **sums.weight_values()}


def latest(folder: TrainingFolder, key: str) -> Checkpoint | None:
    """The newest checkpoint to go on from. It is read whole: nothing that was damaged on the disk is trained on.

    Raises:
        ConfigError: The training here is of another recipe.
    """
    for found in reversed(folder.whole()):
        if found.state.get("key") != key:
            raise wmtp.ConfigError(
                f"{found.path} belongs to another training (key {found.state.get('key')}, this one is {key}); use another "
                "run.name"
            )
        if wrong := faults_of(found):
            log.warning("checkpoint %s is left out: %s", found.path, wrong[0])
            continue
        return found
    return None


def over(checkpoint: Checkpoint, steps: int) -> Ending | None:
    """How the training that a checkpoint is of ended; ``None`` where it goes on."""
    if checkpoint.state["progress"]["ended"]:
        return "early"
    return "finished" if checkpoint.step >= steps else None
