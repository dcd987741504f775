"""A run folder as a comparison sees it, out of `wmtp.runs`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wmtp.comparison.acceptance import LENGTH, LENGTH_UNIT, acceptance_values
from wmtp.comparison.records import EXTRACTION, Judged, RunData
from wmtp.contracts.runs import RunRecord
from wmtp.errors import ConfigError
from wmtp.runs.reader import Run
from wmtp.runs.record import model_name

_PASS = re.compile(r".*pass@\d+")
NOT_OF_THE_PROMPT = frozenset({"temperature", "top_p", "seed"})
"""Settings of sampling that a comparison may be about; those of the model (``model …``) are left out by their name."""


def open_finished(folder: Path, *, ours: Run | None = None) -> tuple[Run, RunRecord]:
    """Open a finished run that is whole, and its record. Raises ConfigError where it is none, or a process works in it.

    ours: the run as this process has it, which has just finished it.
    """
    run = ours or Run(folder)
    if ours is None and run.held:
        raise ConfigError(f"{folder}: a process is still working in it; compare when it has finished")
    if run.record is None:
        what = "the run has not finished" if (folder / "recipe.yaml").exists() else "this is no run folder"
        raise ConfigError(f"{folder}: {what}: there is no results.json. Give the folder of a finished run, runs/<name>")
    if ours is None:
        run.check_whole()
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
    owners = _owners(metrics, judged, values, record.recipe.get("eval", {}).get("metric_prefix") or {})
    judged = {who: _counted(run, who, of, record, owners) for who, of in judged.items()}
    alone = {who: tuple(of) for who, of in values.values() if who not in judged}
    judged |= {who: Judged(passed={}, problems=of, keys=_settings(record, who)) for who, of in alone.items()}
    drafts, counted = acceptance_values(run)
    # Replays draw nothing, so they have no seed.
    made = [p for p in run.keys.get("generation", {}).values() if not str(p.get("model id", "")).endswith(":")]
    seeds = {p["seed"] for p in made if isinstance(p.get("seed"), int)}
    model = record.provenance.model
    return RunData(
        name=run.name,
        path=folder,
        metrics={**metrics, **{metric: sum(of.values()) / len(of) for metric, of in drafts.items()}},
        units={
            **{name: m.unit for name, m in record.metrics.items() if m.unit},
            **dict.fromkeys([LENGTH], LENGTH_UNIT),
        },
        owners={**owners, **dict.fromkeys(drafts, "drafts")},
        judged=judged,
        values={**{metric: of for metric, (_, of) in values.items()}, **drafts},
        drafts=tuple(drafts),
        seed=seeds.pop() if len(seeds) == 1 else None,
        model=model_name(model),
        notes=(*_notes(run.name, missing, record), *_drafts_note(run.name, drafts, counted, record)),
    )


def _not_whole(folder: Path, seen: str) -> ConfigError:
    return ConfigError(
        f"{folder}: {seen}: the run is not whole, or was changed since. Run the command that made it again"
    )


def _notes(name: str, missing: Sequence[str], record: RunRecord) -> Iterator[str]:
    if missing:
        yield f"{name} has no value for {', '.join(missing)}"
    against = record.recipe.get("eval", {}).get("against")
    if against:
        other = Path(against).name
        undecided = [
            who for who, of in record.notes.items() if any(n.startswith(f"undecided against {other}") for n in of)
        ]
        ended = (
            f"was to be sampled until decided against {other}, and ended at its most samples undecided ({', '.join(undecided)})"
            if undecided
            else f"was sampled until it was decided against {other}"
        )
        yield (
            f"{name} {ended}: p-values and intervals below do not know that it could stop once it was decided; the e-value in "
            "that run's notes does"
        )


def _drafts_note(name: str, drafts: Mapping[str, Any], counted: int, record: RunRecord) -> Iterator[str]:
    if drafts and 0 < counted < record.generation.samples:
        yield (
            f"acceptance of {name} is counted over {counted} of its {record.generation.samples} completions: those of sessions "
            "that were killed, and those too short to draft, are not in it"
        )


def _settings(record: RunRecord, evaluator: str) -> dict[str, Any]:
    """What decides the values of an evaluator that keeps no samples: its settings, and the data sets' versions."""
    own = record.recipe.get("eval", {}).get("evaluators", {}).get(evaluator) or {}
    versions = {f"data {name}": of.get("version") for name, of in record.provenance.data.items() if of.get("version")}
    return {**{f"prompt setting {k}": v for k, v in own.items()}, **versions}


def _counted(run: Run, evaluator: str, judged: Judged, record: RunRecord, owners: Mapping[str, str]) -> Judged:
    """The outcomes that results.json counts: a run may have samples beyond the n of its last session.

    Raises ConfigError where it counts others than there are: its files are not whole, or were changed.
    """
    stated = [record.metrics[m] for m, who in owners.items() if who == evaluator and _PASS.fullmatch(m)]
    if not stated:
        return judged
    samples, problems, passed = stated[0].samples, stated[0].problems, judged.passed
    if sum(map(len, passed.values())) > samples and problems and samples % problems == 0:
        most = samples // problems
        passed = {problem: {i: ok for i, ok in of.items() if i < most} for problem, of in passed.items()}
    found = sum(map(len, passed.values()))
    if found < samples or len(passed) < problems:
        raise _not_whole(
            run.folder,
            f"results.json counts {samples} samples of {problems} problems, and verdicts/{evaluator}.jsonl has {found} of "
            f"{len(passed)}",
        )
    return attrs.evolve(judged, passed=passed, problems=passed.keys())


def _no_line(run: Run, file: str, what: str, error: Exception) -> ConfigError:
    said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return ConfigError(f"{run.folder}: a line of {file} is no {what}: {said}")


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
            if row["passed"] is not (row["status"] == "passed"):
                raise TypeError(f"status {row['status']!r} and passed {row['passed']!r} contradict each other")
            passed.setdefault(problem, {})[index] = row["passed"]
            rows[problem] = row["judge_key"]
        except (KeyError, TypeError) as error:
            raise _no_line(run, f"verdicts/{evaluator}.jsonl", "verdict", error) from None
    # Programs are taken out of completions by plugins, with wmtp.kit: their versions are what extraction was done with.
    plugins = {f"{EXTRACTION}{p.distribution}": p.version for p in record.provenance.plugins if p.state == "loaded"}
    if version := record.provenance.packages.get("wmtp-core"):
        plugins[f"{EXTRACTION}wmtp-core"] = version
    texts: dict[str, dict[int, int]] = {}
    prompts: dict[str, str] = {}
    for row in run.rows("samples", evaluator):
        try:
            texts.setdefault(row["problem"], {})[row["index"]] = hash(row.get("completion"))
            prompts[row["problem"]] = row.get("prompt_sha256", "")
        except (KeyError, TypeError) as error:
            raise _no_line(run, f"samples/{evaluator}.jsonl", "sample", error) from None
    return Judged(
        passed={problem: of for problem, of in passed.items() if of},
        keys={**prompt_and_judge_keys(run.keys, evaluator), **plugins},
        rows=rows,
        prompts=prompts,
        texts=texts,
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
        try:
            of_each = run.values(evaluator)
        except (KeyError, TypeError, AttributeError) as error:
            raise _no_line(run, f"values/{evaluator}.jsonl", "value", error) from None
        for metric, of in of_each.items():
            numbers = {problem: float(v) for problem, v in of.items() if isinstance(v, int | float)}
            if not all(map(math.isfinite, numbers.values())):
                raise ConfigError(f"{run.folder}: values/{evaluator}.jsonl has a value of {metric} that is not finite")
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
