"""A training's checkpoints, judged: each in a run folder of its own, and held against the model before training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

import wmtp
from wmtp.events import CheckpointEvaluated, Emitter, RunFinished, StageFinished
from wmtp_train.export import export
from wmtp_train.folder import Checkpoint, TrainingFolder, read_json, write_json, write_text
from wmtp_train.plan import TrainingRequest
from wmtp_train.report import write_report


@attrs.define(kw_only=True)
class Told:
    """A session in which listeners hear of a training. record: what its end is told with."""

    emit: Callable[[Any], None]
    record: wmtp.RunRecord | None = None


@contextmanager
def session(request: TrainingRequest) -> Iterator[Told]:
    """Observers and trackers hear what is emitted within, as a session of the training's own run; a failure is its end."""
    started = request.started()
    ended = partial(RunFinished, name=started.name, kind=started.kind, folder=started.folder)
    with Emitter(wmtp.run_listeners(request.plugins, request.config, started)) as emitter:
        emitter.emit(started)
        told = Told(emit=emitter.emit)
        try:
            yield told
        except BaseException as error:
            emitter.emit(ended(error=error))
            raise
        emitter.emit(ended(record=told.record))


@attrs.frozen(kw_only=True)
class Evaluated:
    """A checkpoint and how it was judged. step 0 is the model before training."""

    step: int
    folder: Path
    record: wmtp.RunRecord


class Judging:
    """Evaluates what a training keeps."""

    def __init__(self, request: TrainingRequest, say: Callable[[str], None]) -> None:
        """say: hears what is done, a line at a time."""
        self._request, self._say = request, say
        self._folder = TrainingFolder(request.folder)
        self._judged_in = self._folder.path / "eval"
        self._said: set[int] = set()

    def judge(self, checkpoints: Sequence[Checkpoint | None], *, last: bool = False) -> Path | None:
        """Evaluates these, ``None`` for the model before training; what was evaluated is not evaluated again.

        last: they are all that there will be: they are compared and a report is written, whose place is returned.
        """
        known = {self._step(one): self._complete(self._place(one)) for one in checkpoints}
        told = self._told()
        if all(known.values()) and told >= set(known):
            found = [self._again(step, record) for step, record in known.items() if record]
            return self._close(found) if last else None
        with session(self._request) as heard:
            found = []
            for one in checkpoints:
                record = known[self._step(one)]
                found.append(self._again(self._step(one), record) if record else self._evaluate(one))
                if record is None or self._step(one) not in told:
                    heard.emit(CheckpointEvaluated(step=self._step(one), record=found[-1].record))
            heard.emit(StageFinished(name="evaluation", seconds=sum(one.record.run.seconds for one in found)))
            report = self._close(found) if last else None
            heard.record = found[-1].record if last else None
        write_json(self._judged_in / "told.json", {"steps": sorted(told | set(known))})
        return report

    @staticmethod
    def _step(checkpoint: Checkpoint | None) -> int:
        return 0 if checkpoint is None else checkpoint.step

    def _place(self, checkpoint: Checkpoint | None) -> Path:
        return self._judged_in / f"step-{self._step(checkpoint):08d}"

    def _told(self) -> set[int]:
        path = self._judged_in / "told.json"
        return set(read_json(path)["steps"]) if path.exists() else set()

    def _complete(self, folder: Path) -> wmtp.RunRecord | None:
        """The record of an evaluation that has every metric that is wanted now."""
        if not (folder / "results.json").is_file():
            return None
        record = wmtp.open_run(folder).record
        wanted = set(self._request.recipe.eval.metrics)
        return record if record is not None and record.complete and wanted <= set(record.metrics) else None

    def _again(self, step: int, record: wmtp.RunRecord) -> Evaluated:
        if step not in self._said:
            self._say(f"step {step}: evaluated before")
            self._said.add(step)
        return Evaluated(step=step, folder=self._judged_in / f"step-{step:08d}", record=record)

    def _evaluate(self, checkpoint: Checkpoint | None) -> Evaluated:
        step, folder = self._step(checkpoint), self._place(checkpoint)
        config = self._request.config
        without_tracking = {name: one for name, one in config.sections.items() if name != "tracking"}
        results = wmtp.evaluate(
            attrs.evolve(config, sections=without_tracking),
            self._recipe(folder.name, checkpoint),
            plugins=self._request.plugins,
            runs=self._judged_in,
        )
        if not results.complete:
            raise wmtp.WmtpError(f"step {step} could not be evaluated whole: {'; '.join(results.shortcomings())}")
        self._say(f"step {step}: " + ", ".join(f"{name} {shown(m)}" for name, m in results.metrics.items()))
        self._said.add(step)
        return Evaluated(step=step, folder=folder, record=results.record)

    def _recipe(self, name: str, checkpoint: Checkpoint | None) -> wmtp.Recipe:
        recipe = self._request.recipe
        run = attrs.evolve(recipe.run, name=name)
        if checkpoint is None:
            return attrs.evolve(recipe, run=run, sections={})
        place = export(self._request, checkpoint).resolve()
        model = attrs.evolve(recipe.model, base_id=str(place), variant=None, revision=None, loader=None)
        return attrs.evolve(recipe, run=run, model=model, sections={})

    def _close(self, found: Sequence[Evaluated]) -> Path:
        """Every checkpoint against the model before training; results.json and report of the run."""
        compared = wmtp.compare([one.folder for one in found], despite=())
        write_text(self._folder.path / "comparison.json", json.dumps(compared.to_json(), indent=1) + "\n")
        self._results(found[-1])
        return write_report(self._request.folder, found)

    def _results(self, last: Evaluated) -> None:
        """results.json of the run: that of its last checkpoint, whose weights' sha256 is in its provenance."""
        notes = {**last.record.notes, "wmtp-train": (f"of the checkpoint of step {last.step}, {last.folder}",)}
        run = attrs.evolve(last.record.run, name=self._request.recipe.run.name, directory=str(self._request.folder))
        record = attrs.evolve(last.record, run=run, notes=notes)
        write_text(
            self._request.folder / "results.json",
            json.dumps(wmtp.Results(self._request.folder, record).to_json(), indent=1, ensure_ascii=False) + "\n",
        )


def shown(metric: wmtp.MetricValue) -> str:
    """A metric with its interval, for people."""
    if metric.value is None:
        return "—"
    scale, unit = (1.0, f" {metric.unit}") if metric.unit else (100.0, " %")
    interval = (
        "" if metric.low is None or metric.high is None else f" [{scale * metric.low:.1f}, {scale * metric.high:.1f}]"
    )
    return f"{scale * metric.value:.1f}{interval}{unit}"
