"""``wmtp run``: train, export, evaluate each kept checkpoint, compare with the model before training, report.

Each stage leaves a mark of its own in the run folder and is not done again where that stands: whole checkpoints, finished
exports, complete evaluations.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

import wmtp
from wmtp.events import Emitter, RunFinished, StageFinished, StepLogged
from wmtp.runs.record import to_json
from wmtp_train.export import export
from wmtp_train.folder import Checkpoint, TrainingFolder, write_text
from wmtp_train.plan import TrainingRequest
from wmtp_train.report import write_report

log = logging.getLogger("wmtp.train")


@attrs.frozen(kw_only=True)
class Evaluated:
    """A checkpoint and how it was judged. step 0 is the model before training; fresh: this session judged it."""

    step: int
    folder: Path
    record: wmtp.RunRecord
    fresh: bool


class Stages:
    """One run of a recipe from training to report."""

    def __init__(self, request: TrainingRequest, train: Callable[[], None], say: Callable[[str], None]) -> None:
        """train: trains to the end, or raises. say: hears what is done, a line at a time."""
        if not request.recipe.eval.metrics:
            raise wmtp.ConfigError(
                "recipe.eval.metrics is empty, so no checkpoint could be judged; `wmtp metrics` lists them"
            )
        self._request, self._train, self._say = request, train, say
        self._folder = TrainingFolder(request.folder)
        self._judged_in = self._folder.path / "eval"

    def run(self) -> Path:
        """All stages. Returns the report."""
        self._train()
        found = [self._judged(0, None)]
        for checkpoint in self._folder.whole():
            found.append(self._judged(checkpoint.step, checkpoint))
        self._tell_trackers([one for one in found if one.fresh])
        self._compare(found)
        self._finish(found)
        report = write_report(self._request.folder, found)
        self._say(f"report: {report}")
        return report

    def _judged(self, step: int, checkpoint: Checkpoint | None) -> Evaluated:
        """A checkpoint's evaluation, done now or before."""
        name = f"step-{step:08d}"
        folder = self._judged_in / name
        known = self._complete(folder)
        if known is not None:
            self._say(f"step {step}: evaluated before")
            return Evaluated(step=step, folder=folder, record=known, fresh=False)
        results = wmtp.evaluate(
            attrs.evolve(self._request.config, sections=self._without_tracking()),
            self._recipe(name, checkpoint),
            plugins=self._request.plugins,
            runs=self._judged_in,
        )
        if not results.complete:
            raise wmtp.WmtpError(f"step {step} could not be evaluated whole: {'; '.join(results.shortcomings())}")
        self._say(f"step {step}: " + ", ".join(f"{name} {shown(m)}" for name, m in results.metrics.items()))
        return Evaluated(step=step, folder=folder, record=results.record, fresh=True)

    def _complete(self, folder: Path) -> wmtp.RunRecord | None:
        """The record of an evaluation that has every metric that is wanted now."""
        if not (folder / "results.json").is_file():
            return None
        record = wmtp.open_run(folder).record
        wanted = set(self._request.recipe.eval.metrics)
        return record if record is not None and record.complete and wanted <= set(record.metrics) else None

    def _recipe(self, name: str, checkpoint: Checkpoint | None) -> wmtp.Recipe:
        recipe = self._request.recipe
        run = attrs.evolve(recipe.run, name=name)
        if checkpoint is None:
            return attrs.evolve(recipe, run=run, sections={})
        place = export(self._request, checkpoint).resolve()
        model = attrs.evolve(recipe.model, base_id=str(place), variant=None, revision=None, loader=None)
        return attrs.evolve(recipe, run=run, model=model, sections={})

    def _without_tracking(self) -> dict[str, Any]:
        return {name: one for name, one in self._request.config.sections.items() if name != "tracking"}

    def _compare(self, found: Sequence[Evaluated]) -> None:
        """Every checkpoint against the model before training."""
        compared = wmtp.compare([one.folder for one in found], despite=())
        write_text(self._folder.path / "comparison.json", json.dumps(compared.to_json(), indent=1) + "\n")

    def _tell_trackers(self, fresh: Sequence[Evaluated]) -> None:
        """Scores of checkpoints as points of the training's own run, each at its step."""
        if not fresh or "tracking" not in self._request.config.sections:
            return
        request = self._request
        started = request.started()
        with Emitter(wmtp.run_listeners(request.plugins, request.config, started)) as emitter:
            emitter.emit(started)
            for one in fresh:
                emitter.emit(StepLogged(step=one.step, values=points(one.record)))
            emitter.emit(StageFinished(name="evaluation", seconds=sum(one.record.run.seconds for one in fresh)))
            ended = partial(RunFinished, name=started.name, kind=started.kind, folder=started.folder)
            emitter.emit(ended(record=fresh[-1].record))

    def _finish(self, found: Sequence[Evaluated]) -> None:
        """results.json of the run: that of its last checkpoint, whose weights' sha256 is in its provenance."""
        last = found[-1]
        notes = {**last.record.notes, "wmtp-train": (f"of the checkpoint of step {last.step}, {last.folder}",)}
        run = attrs.evolve(last.record.run, name=self._request.recipe.run.name, directory=str(self._request.folder))
        record = attrs.evolve(last.record, run=run, notes=notes)
        write_text(
            self._request.folder / "results.json", json.dumps(to_json(record), indent=1, ensure_ascii=False) + "\n"
        )


def points(record: wmtp.RunRecord) -> dict[str, float]:
    """Metrics and their intervals' ends, by the names that trackers show."""
    found: dict[str, float] = {}
    for name, metric in record.metrics.items():
        for suffix, value in (("", metric.value), ("_low", metric.low), ("_high", metric.high)):
            if value is not None:
                found[f"eval/{name}{suffix}"] = value
    return found


def shown(metric: wmtp.MetricValue) -> str:
    """A metric with its interval, for people."""
    if metric.value is None:
        return "—"
    scale, unit = (1.0, f" {metric.unit}") if metric.unit else (100.0, " %")
    interval = (
        "" if metric.low is None or metric.high is None else f" [{scale * metric.low:.1f}, {scale * metric.high:.1f}]"
    )
    return f"{scale * metric.value:.1f}{interval}{unit}"
