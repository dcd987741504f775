"""results.json: what was run, on what, by whom, and every metric. Programs read it, so its keys are stable."""

from __future__ import annotations

import json
import platform
import time
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
from wmtp.errors import WmtpError
from wmtp.evaluation.engine import RunEngine
from wmtp.evaluation.printable import printable
from wmtp.evaluation.rundir import read_object
from wmtp.plugins import Plugins

SCHEMA = 1
PACKAGES = ("wmtp-core", "torch", "transformers", "attrs", "cattrs", "pluggy", "huggingface_hub", "boto3")


@attrs.frozen
class Results:
    """The results of a run. `metrics` by the names that were asked for; `folder` is the run directory."""

    metrics: Mapping[str, MetricValue]
    folder: Path
    _object: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """True if every metric has a value and no evaluator failed."""
        return not self.shortcomings()

    def shortcomings(self) -> list[str]:
        """What keeps the run from being complete, one line each."""
        lines = [f"{name} has no value yet" for name, metric in self.metrics.items() if metric.value is None]
        lines += [f"{who}: {note}" for who, notes in self._object["notes"].items() for note in notes[:3] if lines]
        lines += [f"{who} failed: {what['error']}" for who, what in self._object["failed_evaluators"].items()]
        return [printable(line) for line in lines]

    def to_json(self) -> dict[str, Any]:
        """The object of results.json."""
        return dict(self._object)


def assemble(
    config: Config,
    recipe: Recipe,
    result: EvaluationResult,
    *,
    plugins: Plugins,
    folder: Path,
    engine: RunEngine,
    judge: Judge,
    data: Mapping[str, Any],
    keys: Mapping[str, Any],
    seconds: float,
) -> Results:
    """Builds `Results` from what the evaluators answered and what the files hold."""
    asked = {
        name: result.metrics.get(name, MetricValue(value=None, low=None, high=None, problems=0, samples=0))
        for name in recipe.eval.metrics
    }
    parts = dict(result.parts) or {result.evaluator: result}
    owners = {p: plugins.evaluators[p] for p in (*result.parts, *result.failed) if p in plugins.evaluators}
    listing = plugins.listing()
    infrastructure = sum(part.counts.get("infrastructure", 0) for part in parts.values())
    body = {
        "schema": SCHEMA,
        "run": {
            "name": recipe.run.name,
            "tags": list(recipe.run.tags),
            "directory": str(folder),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(seconds, 3),
        },
        "metrics": {name: attrs.asdict(value, filter=_stated) for name, value in asked.items()},
        "verdicts": {who: dict(sorted(part.counts.items())) for who, part in parts.items()},
        "generation": _generation(folder, engine),
        "judging": {
            "level": judge.level,
            "in_process": [],  # nothing runs outside the sandbox: what the judge cannot split is infrastructure
            "infrastructure": infrastructure,
            "notes": list(judge.notes),
        },
        "failed_evaluators": {
            who: {
                "distribution": owners[who].distribution if who in owners else "",
                "error": f"{type(error).__name__}: {error}",
                "user": isinstance(error, WmtpError),
            }
            for who, error in result.failed.items()
        },
        "notes": {who: list(part.notes) for who, part in parts.items() if part.notes},
        "provenance": {
            "packages": _versions(),
            "plugins": [{"distribution": i.distribution, "version": i.version, "state": i.state} for i in listing],
            "plugin_errors": [
                {"distribution": i.distribution, "version": i.version, "error": i.error} for i in listing if i.error
            ],
            "model": _model(folder),
            "data": dict(data),
            "keys": dict(keys),
        },
        "config": to_plain(config),
        "recipe": to_plain(recipe),
    }
    return Results(asked, folder, body)


def _stated(attribute: Any, value: Any) -> bool:
    """A share of 1, as nearly every metric is, has no unit to state."""
    return attribute.name not in ("unit", "method") or bool(value)


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


def _generation(folder: Path, engine: RunEngine) -> dict[str, Any]:
    """Totals over the stored samples, and what the run's engines counted, if any did."""
    tokens = samples = truncated = 0
    for path in sorted((folder / "samples").glob("*.jsonl")) if (folder / "samples").is_dir() else ():
        with path.open("rb") as lines:
            for line in lines:
                row = json.loads(line.decode("utf-8", "surrogatepass"))
                samples += 1
                tokens += row["tokens"]
                truncated += row["finish_reason"] == "length"
    found: dict[str, Any] = {"samples": samples, "tokens": tokens, "truncated": truncated}
    found["batch_invariant"] = (read_object(folder / "engine.json") or {}).get("batch_invariant")
    stats = engine.stats
    seconds = stats.seconds if stats else None
    found["seconds"] = None if seconds is None else round(seconds, 3)
    found["tokens_per_second"] = round(stats.tokens / stats.seconds, 2) if stats and stats.seconds else None
    rows = stats.rows if stats else 0
    found["tokens_per_forward"] = round(stats.tokens / rows, 4) if stats and rows else None
    found["acceptance"] = (
        [round(a / d, 4) if d else None for a, d in zip(stats.accepted, stats.drafted, strict=True)] if stats else []
    )
    found["notes"] = list(stats.notes) if stats else []
    return found
