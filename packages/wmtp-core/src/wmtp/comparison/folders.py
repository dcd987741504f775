"""A run folder as a comparison sees it, out of `wmtp.runs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wmtp.comparison.records import Judged, RunData
from wmtp.contracts.runs import RunRecord
from wmtp.errors import ConfigError
from wmtp.runs.reader import Run

NOT_OF_THE_PROMPT = frozenset({"temperature", "top_p", "seed"})
"""Settings of sampling that a comparison may be about; those of the model (``model …``) are left out by their name."""


def open_finished(folder: Path, *, ours: bool = False) -> tuple[Run, RunRecord]:
    """Open a finished run, and its record. Raises ConfigError where it is none, or a process works in it.

    ours: that process is this one.
    """
    run = Run(folder)
    if not ours and run.held:
        raise ConfigError(f"{folder}: a process is still working in it; compare when it has finished")
    if run.record is None:
        what = "the run has not finished" if (folder / "recipe.yaml").exists() else "this is no run folder"
        raise ConfigError(f"{folder}: {what}: there is no results.json. Give the folder of a finished run, runs/<name>")
    return run, run.record


def read_folder(folder: Path) -> RunData:
    """Read a finished run. Raises ConfigError where it is none, still going, torn, or without any outcome."""
    run, record = open_finished(folder)
    metrics = {name: metric.value for name, metric in record.metrics.items() if metric.value is not None}
    missing = [name for name, metric in record.metrics.items() if metric.value is None]
    if not metrics:
        raise ConfigError(
            f"{folder}: the run has no value for any metric ({', '.join(missing) or 'none was asked for'}); finish it with the "
            "command that began it, and compare then"
        )
    judged = {evaluator: _judged(run, evaluator, record) for evaluator in run.evaluators_with("verdicts")}
    values = _values(run)
    # Replays draw nothing, so they have no seed.
    made = [p for p in run.keys.get("generation", {}).values() if not str(p.get("model id", "")).endswith(":")]
    seeds = {p["seed"] for p in made if isinstance(p.get("seed"), int)}
    model = record.provenance.model
    return RunData(
        name=run.name,
        path=folder,
        metrics=metrics,
        units={name: metric.unit for name, metric in record.metrics.items() if metric.unit},
        owners=_owners(metrics, judged, values, record.recipe.get("eval", {}).get("metric_prefix") or {}),
        judged=judged,
        values={metric: of for metric, (_, of) in values.items()},
        seed=seeds.pop() if len(seeds) == 1 else None,
        model=" ".join(str(model[k]) for k in ("id", "variant") if model.get(k)),
        notes=tuple(_notes(run.name, missing, record.recipe)),
    )


def _notes(name: str, missing: Sequence[str], recipe: Mapping[str, Any]) -> Iterator[str]:
    if missing:
        yield f"{name} has no value for {', '.join(missing)}"
    against = recipe.get("eval", {}).get("against")
    if against:
        yield (
            f"{name} was sampled until it was decided against {Path(against).name}: p-values and intervals below do not know "
            "that it stopped when it did; the e-value in that run's notes does"
        )


def _judged(run: Run, evaluator: str, record: RunRecord) -> Judged:
    """The last line of each (problem, index) wins, as in the run itself."""
    passed: dict[str, dict[int, bool]] = {}
    rows: dict[str, str] = {}
    for row in run.rows("verdicts", evaluator):
        try:
            problem, index = row["problem"], row["index"]
            if row["status"] == "infrastructure":
                passed.setdefault(problem, {}).pop(index, None)
                continue
            passed.setdefault(problem, {})[index] = bool(row["passed"])
            rows[problem] = row["judge_key"]
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"{run.folder}: a line of verdicts/{evaluator}.jsonl is no verdict: {error} is missing"
            ) from None
    # Programs are taken out of completions by plugins: their versions are what extraction was done with.
    plugins = {
        f"extraction {plugin.distribution}": plugin.version
        for plugin in record.provenance.plugins
        if plugin.distribution.startswith("wmtp-eval-")
    }
    return Judged(
        passed={problem: of for problem, of in passed.items() if of},
        keys={**prompt_and_judge_keys(run.keys, evaluator), **plugins},
        rows=rows,
        prompts={row.get("problem", ""): row.get("prompt_sha256", "") for row in run.rows("samples", evaluator)},
    )


def prompt_and_judge_keys(keys: Mapping[str, Any], evaluator: str) -> dict[str, Any]:
    """What decides an evaluator's prompts and verdicts, by name, out of keys.json; not what a comparison may be about."""
    made, judging = (keys.get(kind, {}).get(evaluator, {}) for kind in ("generation", "judge"))
    found = {f"prompt {k}": v for k, v in made.items() if k not in NOT_OF_THE_PROMPT and not k.startswith("model ")}
    return {**found, **{f"judge {k}": v for k, v in judging.items()}}


def _values(run: Run) -> dict[str, tuple[str, dict[str, float]]]:
    """Metric → (evaluator, problem → value)."""
    found: dict[str, tuple[str, dict[str, float]]] = {}
    for evaluator in run.evaluators_with("values"):
        for metric, of in run.values(evaluator).items():
            numbers = {problem: float(v) for problem, v in of.items() if isinstance(v, int | float)}
            if numbers:
                found.setdefault(metric, (evaluator, numbers))
    return found


def _owners(
    metrics: Mapping[str, float],
    judged: Mapping[str, Judged],
    values: Mapping[str, tuple[str, Any]],
    prefixes: Mapping[str, str],
) -> dict[str, str]:
    """Metric → its evaluator: what the values say, the only evaluator there is, or what the installed plugins say."""
    owners = {metric: values[metric][0] for metric in metrics if metric in values}
    rest = [metric for metric in metrics if metric not in owners]
    if rest and len(judged) == 1:
        return {**owners, **dict.fromkeys(rest, next(iter(judged)))}
    if rest:
        from wmtp.plugins import create_plugin_manager

        plugins = create_plugin_manager()
        owners |= {metric: plugins.metric(metric, prefixes).evaluator.spec.id for metric in rest}
    return owners
