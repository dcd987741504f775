"""Reading a run folder for a comparison: results.json, keys.json, and the lines of verdicts, samples and values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wmtp.comparison.records import Judged, RunData
from wmtp.errors import ConfigError

NOT_OF_THE_PROMPT = frozenset({"temperature", "top_p", "seed"})
"""Settings of sampling that a comparison may be about; those of the model (``model …``) are left out by their name."""


def read_folder(folder: Path) -> RunData:
    """Read a finished run. Raises ConfigError where it is none, still going, torn, or without any outcome."""
    results = read_results(folder)
    keys = _object(folder / "keys.json") or {}
    judged = {
        path.stem: _judged(folder, path, keys)
        for path in sorted((folder / "verdicts").glob("*.jsonl"))
        if path.stat().st_size
    }
    values = _values(folder)
    metrics = {n: m["value"] for n, m in results["metrics"].items() if m.get("value") is not None}
    missing = [n for n, m in results["metrics"].items() if m.get("value") is None]
    if not metrics:
        raise ConfigError(
            f"{folder}: the run has no value for any metric ({', '.join(missing) or 'none was asked for'}); finish it with the "
            "command that began it, and compare then"
        )
    recipe, model = results.get("recipe", {}), results["provenance"].get("model", {})
    made = [
        p for p in keys.get("generation", {}).values() if not str(p.get("model id", "")).endswith(":")
    ]  # replays draw nothing
    seeds = {p["seed"] for p in made if isinstance(p.get("seed"), int)}
    return RunData(
        name=folder.resolve().name,
        path=folder,
        metrics=metrics,
        units={n: m["unit"] for n, m in results["metrics"].items() if m.get("unit")},
        owners=_owners(metrics, judged, values, recipe.get("eval", {}).get("metric_prefix") or {}),
        judged={who: _with_versions(of, results) for who, of in judged.items()},
        values={metric: of for metric, (_, of) in values.items()},
        seed=seeds.pop() if len(seeds) == 1 else None,
        model=" ".join(str(model[k]) for k in ("id", "variant") if model.get(k)),
        notes=tuple(_notes(folder.resolve().name, missing, recipe)),
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


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a jsonl file. Raises ConfigError naming the line that is damaged or cut off."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8", "surrogatepass"))
                if not isinstance(row, dict):
                    raise ValueError("no JSON object")
            except ValueError as error:
                torn = "" if line.endswith(b"\n") else " The line is cut off: the file is not whole."
                raise ConfigError(f"{path}, line {number}: damaged: {error}.{torn}") from None
            yield row


def read_results(folder: Path, *, ours: bool = False) -> dict[str, Any]:
    """Read results.json of a finished run. Raises ConfigError where there is none, or a process works in the folder.

    ours: that process is this one.
    """
    if not ours and _held(folder):
        raise ConfigError(f"{folder}: a process is still working in it; compare when it has finished")
    found = _object(folder / "results.json")
    if found is None:
        what = "the run has not finished" if (folder / "recipe.yaml").exists() else "this is no run folder"
        raise ConfigError(f"{folder}: {what}: there is no results.json. Give the folder of a finished run, runs/<name>")
    if not isinstance(found.get("metrics"), dict) or not isinstance(found.get("provenance"), dict):
        raise ConfigError(
            f"{folder / 'results.json'}: not the results of an evaluation: metrics or provenance is missing"
        )
    return found


def _held(folder: Path) -> bool:
    lock = folder / ".lock"
    if not lock.exists():
        return False
    import filelock

    try:
        with filelock.FileLock(lock, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # a folder that may not be written: nobody works in it either
        return False


def _object(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(f"{path}: damaged: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: damaged: not a JSON object")
    return found


def _judged(folder: Path, verdicts: Path, keys: Mapping[str, Any]) -> Judged:
    """The last line of each (problem, index) wins, as in the run itself."""
    passed: dict[str, dict[int, bool]] = {}
    rows: dict[str, str] = {}
    for row in lines(verdicts):
        try:
            problem, index = row["problem"], row["index"]
            if row["status"] == "infrastructure":
                passed.setdefault(problem, {}).pop(index, None)
                continue
            passed.setdefault(problem, {})[index] = bool(row["passed"])
            rows[problem] = row["judge_key"]
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{verdicts}: a line is no verdict: {error} is missing") from None
    prompts: dict[str, str] = {}
    samples = folder / "samples" / verdicts.name
    if samples.exists():
        for row in lines(samples):
            prompts[row.get("problem", "")] = row.get("prompt_sha256", "")
    return Judged(
        passed={problem: of for problem, of in passed.items() if of},
        keys=prompt_and_judge_keys(keys, verdicts.stem),
        rows=rows,
        prompts=prompts,
    )


def prompt_and_judge_keys(keys: Mapping[str, Any], evaluator: str) -> dict[str, Any]:
    """What decides an evaluator's prompts and verdicts, by name, out of keys.json; not what a comparison may be about."""
    made, judging = (keys.get(kind, {}).get(evaluator, {}) for kind in ("generation", "judge"))
    found = {f"prompt {k}": v for k, v in made.items() if k not in NOT_OF_THE_PROMPT and not k.startswith("model ")}
    return {**found, **{f"judge {k}": v for k, v in judging.items()}}


def _with_versions(judged: Judged, results: Mapping[str, Any]) -> Judged:
    """Programs are taken out of completions by plugins: their versions are what extraction was done with."""
    plugins = {
        f"extraction {p['distribution']}": p["version"]
        for p in results["provenance"].get("plugins", ())
        if str(p.get("distribution", "")).startswith("wmtp-eval-")
    }
    return Judged(passed=judged.passed, keys={**judged.keys, **plugins}, rows=judged.rows, prompts=judged.prompts)


def _values(folder: Path) -> dict[str, tuple[str, dict[str, float]]]:
    """Metric → (evaluator, problem → value), from ``values/<evaluator>.jsonl``."""
    found: dict[str, tuple[str, dict[str, float]]] = {}
    for path in sorted((folder / "values").glob("*.jsonl")):
        for row in lines(path):
            for metric, value in row.get("values", {}).items():
                if isinstance(value, int | float):
                    found.setdefault(metric, (path.stem, {}))[1][row["problem"]] = float(value)
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
