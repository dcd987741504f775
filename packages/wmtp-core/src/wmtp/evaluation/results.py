"""From what evaluators answered, and what the run folder holds, to the record of a run."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import attrs

from wmtp.config.config import Config
from wmtp.config.plain import to_plain
from wmtp.config.recipe import Recipe
from wmtp.contracts.evaluation import EvaluationResult, MetricValue
from wmtp.contracts.judging import Judge
from wmtp.contracts.runs import (
    EvaluatorFailure,
    GenerationRecord,
    JudgingRecord,
    PluginFault,
    PluginUse,
    Provenance,
    RunInfo,
    RunRecord,
)
from wmtp.errors import WmtpError
from wmtp.evaluation.engine import RunEngine
from wmtp.evaluation.speculation import speculation
from wmtp.plugins import Plugins
from wmtp.runs.folder import read_object
from wmtp.runs.printable import printable
from wmtp.runs.reader import Run
from wmtp.runs.record import to_json

PACKAGES = ("wmtp-core", "torch", "transformers", "attrs", "cattrs", "pluggy", "huggingface_hub", "boto3")
SHOWN_NOTES = 3


@attrs.frozen
class Results:
    """The results of a run.

    Attributes:
        folder: The run folder.
        record: The record that results.json holds.
    """

    folder: Path
    record: RunRecord

    @property
    def metrics(self) -> Mapping[str, MetricValue]:
        """By the names that were asked for."""
        return self.record.metrics

    @property
    def complete(self) -> bool:
        """True if every metric has a value and no evaluator failed."""
        return self.record.complete

    def shortcomings(self) -> list[str]:
        """What keeps the run from being complete, one line each."""
        lines = [f"{name} has no value yet" for name, metric in self.metrics.items() if metric.value is None]
        for who, notes in self.record.notes.items() if lines else ():
            lines += [f"{who}: {note}" for note in notes[:SHOWN_NOTES]]
            if more := len(notes[SHOWN_NOTES:]):
                lines.append(f"{who}: … and {more} more, in {self.folder / 'report.md'}")
        for who, what in self.record.failed_evaluators.items():
            trace = "" if what.user else f"; its traceback is in {self.folder / 'log.txt'}"
            lines.append(f"{who} failed: {what.error}{trace}")
        return [printable(line) for line in lines]

    def to_json(self) -> dict[str, Any]:
        """The object of results.json."""
        return to_json(self.record)


def assemble(
    config: Config,
    recipe: Recipe,
    result: EvaluationResult,
    *,
    plugins: Plugins,
    run: Run,
    engine: RunEngine,
    judge: Judge | None,
    data: Mapping[str, Mapping[str, str]],
    seconds: float,
) -> RunRecord:
    """Make the record of a run. judge: ``None`` where nothing has needed one."""
    none = MetricValue(value=None, low=None, high=None, problems=0, samples=0)
    parts = dict(result.parts) or {result.evaluator: result}
    owners = {p: plugins.evaluators[p] for p in (*result.parts, *result.failed) if p in plugins.evaluators}
    listing = plugins.listing()
    return RunRecord(
        run=RunInfo(
            name=recipe.run.name,
            tags=recipe.run.tags,
            directory=str(run.folder),
            finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            seconds=round(seconds, 3),
        ),
        metrics={name: result.metrics.get(name, none) for name in recipe.eval.metrics},
        verdicts={who: dict(sorted(part.counts.items())) for who, part in parts.items()},
        generation=_generation(run, engine, parts),
        judging=JudgingRecord(
            level=judge.level if judge else "",
            infrastructure=sum(part.counts.get("infrastructure", 0) for part in parts.values()),
            notes=judge.notes if judge else (),
        ),
        failed_evaluators={
            who: EvaluatorFailure(
                distribution=owners[who].distribution if who in owners else "",
                error=f"{type(error).__name__}: {error}",
                user=isinstance(error, WmtpError),
            )
            for who, error in result.failed.items()
        },
        notes={who: part.notes for who, part in parts.items() if part.notes},
        provenance=Provenance(
            packages=_versions(),
            plugins=[PluginUse(distribution=i.distribution, version=i.version, state=i.state) for i in listing],
            plugin_errors=[
                PluginFault(distribution=i.distribution, version=i.version, error=i.error) for i in listing if i.error
            ],
            model=_model(run.folder),
            data=dict(data),
            keys=read_object(run.folder / "keys.json") or {},  # absent where no evaluator stores samples
        ),
        config=to_plain(config),
        recipe=to_plain(recipe),
    )


def _model(folder: Path) -> dict[str, str]:
    """Where the model came from, and what decides its samples; nothing, if no engine was ever opened."""
    found = read_object(folder / "engine.json") or {}
    return {**found.get("origin", {}), **found.get("identity", {})}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _generation(run: Run, engine: RunEngine, parts: Mapping[str, EvaluationResult]) -> GenerationRecord:
    """Totals over the stored samples, and what the run's engines counted, if any did."""
    last: dict[tuple[str, str, int], tuple[int, bool]] = {}
    for evaluator in run.evaluators_with("samples"):
        for row in run.rows("samples", evaluator):
            last[evaluator, row["problem"], row["index"]] = (row["tokens"], row["finish_reason"] == "length")
    found = GenerationRecord(
        samples=len(last),
        tokens=sum(tokens for tokens, _ in last.values()),
        truncated=sum(cut_off for _, cut_off in last.values()),
        too_long=dict(sum((Counter(part.too_long) for part in parts.values()), Counter())),
        batch_invariant=(read_object(run.folder / "engine.json") or {}).get("batch_invariant"),
    )
    stats = engine.stats
    if stats is None:
        return found
    return attrs.evolve(
        found,
        seconds=round(stats.seconds, 3),
        tokens_per_second=round(stats.tokens / stats.seconds, 2) if stats.seconds else None,
        tokens_per_forward=round(stats.tokens / stats.rows, 4) if stats.rows else None,
        acceptance=[round(a / d, 4) if d else None for a, d in zip(stats.accepted, stats.drafted, strict=True)],
        speculation=speculation(stats),
        notes=stats.notes,
    )
