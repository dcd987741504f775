"""Files of other tools: what human-eval, EvalPlus, bigcode, lm-evaluation-harness and inspect leave behind.

Nobody here judged what they hold. Outcomes of samples are compared as passes, scores of problems as values, and every
comparison says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wmtp.comparison.archive import members
from wmtp.comparison.records import Judged, RunData
from wmtp.errors import ConfigError
from wmtp.runs.lines import json_lines

UNJUDGED = "nobody here judged the samples of {name}: its {what} are {form}'s own"
LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}  # inspect's correct, incorrect, partial, no answer


def read_file(path: Path) -> RunData:
    """Read a file of another tool, told apart by what is in it. Raises ConfigError where it is none, or cut short."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip():
        raise ConfigError(f"{path}: the file is empty")
    if head.startswith(b"PK\x03\x04"):
        return _inspect(path)
    first = _first_line(path, head)
    if first is not None:
        if {"task_id", "passed"} <= first.keys():
            return _human_eval(path)
        if {"doc_id", "metrics"} <= first.keys():
            return _lm_eval(path)
        if "completion" in first or "solution" in first:
            raise ConfigError(f"{path}: samples that are not judged. Judge them first: wmtp score {path} --benchmark …")
    whole = _json(path)
    if isinstance(whole, dict) and isinstance(whole.get("eval"), dict):
        return _evalplus(path, whole["eval"])
    if isinstance(whole, dict) and whole and all(isinstance(v, list) for v in whole.values()):
        return _bigcode(path, whole)
    if isinstance(whole, list) and whole and all(isinstance(v, list) for v in whole):
        raise ConfigError(
            f"{path}: bigcode's generations, which are not judged. Judge them first: wmtp score {path} --benchmark …"
        )
    raise ConfigError(
        f"{path}: not a file that can be compared. Known are run folders, human-eval's *_results.jsonl, EvalPlus' "
        "eval_results.json, bigcode's logs, lm-evaluation-harness' samples_*.jsonl and inspect's .eval"
    )


def _first_line(path: Path, head: bytes) -> dict[str, Any] | None:
    if not head.lstrip().startswith(b"{"):
        return None
    with path.open("rb") as file:
        line = file.readline()
    try:
        found = json.loads(line.decode("utf-8", "surrogatepass"))
    except ValueError:
        return None  # an object over several lines, or damaged: reading it whole tells
    return found if isinstance(found, dict) else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise ConfigError(f"{path}: damaged or cut short: {error}") from None


def _run(path: Path, form: str, judged: Mapping[str, Judged], notes: Iterable[str] = ()) -> RunData:
    """A run of outcomes: metric ``<name>_pass@1`` for each entry, plain ``pass@1`` where its name is empty."""
    names = {(f"{who}_pass@1" if who else "pass@1"): who for who in judged}
    if not any(of.passed for of in judged.values()):
        raise ConfigError(f"{path}: it holds no outcome")
    means = {
        metric: sum(sum(p.values()) / len(p) for p in judged[who].passed.values()) / len(judged[who].passed)
        for metric, who in names.items()
    }
    said = UNJUDGED.format(name=path.name, what="outcomes", form=form)
    return RunData(
        name=path.name,
        path=path,
        form=form,
        metrics=means,
        owners=dict(names),
        judged=dict(judged),
        notes=(said, *notes),
    )


def _human_eval(path: Path) -> RunData:
    passed: dict[str, dict[int, bool]] = {}
    for row in json_lines(path):
        task = _field(path, row, "task_id")
        of = passed.setdefault(str(task), {})
        of[len(of)] = bool(_field(path, row, "passed"))
    return _run(path, "human-eval", {"": Judged(passed=passed)})


def _field(path: Path, row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise ConfigError(f"{path}: a line has no {name!r}")
    return row[name]


def _evalplus(path: Path, tasks: Mapping[str, Any]) -> RunData:
    """EvalPlus: every task's samples with their status on the base tests and on all; BigCodeBench: with one status."""
    plus: dict[str, dict[int, bool]] = {}
    base: dict[str, dict[int, bool]] = {}
    one: dict[str, dict[int, bool]] = {}
    for task, samples in tasks.items():
        if not isinstance(samples, list) or not all(isinstance(s, dict) for s in samples):
            raise ConfigError(f"{path}: task {task} holds no list of samples")
        for index, sample in enumerate(samples):
            if "base_status" in sample:
                right = sample["base_status"] == "pass"
                base.setdefault(task, {})[index] = right
                if sample.get("plus_status") is not None:
                    plus.setdefault(task, {})[index] = right and sample["plus_status"] == "pass"
            elif "status" in sample:
                one.setdefault(task, {})[index] = sample["status"] == "pass"
            else:
                raise ConfigError(f"{path}: sample {index} of task {task} has no status")
    found = {"": one, "base": base, "plus": plus}
    return _run(path, "EvalPlus", {name: Judged(passed=of) for name, of in found.items() if of})


def _bigcode(path: Path, tasks: Mapping[str, Any]) -> RunData:
    """The logs of bigcode's (and transformers' code_eval's) judge: task → [[index, {"passed": …}], …]."""
    passed: dict[str, dict[int, bool]] = {}
    for task, entries in tasks.items():
        for entry in entries:
            try:
                index, outcome = entry
                passed.setdefault(str(task), {})[int(index)] = bool(outcome["passed"])
            except (TypeError, ValueError, KeyError):
                raise ConfigError(
                    f"{path}: task {task} holds no [index, {{passed: …}}] pairs, so it is not bigcode's log of outcomes"
                ) from None
    return _run(path, "bigcode", {"": Judged(passed=passed)})


def _lm_eval(path: Path) -> RunData:
    """One score a problem, metric and filter; where a line repeats them, the mean over repeats."""
    scores: dict[str, dict[str, list[float]]] = {}
    rows: dict[str, str] = {}
    prompts: dict[str, str] = {}
    copies = programs = 0
    for row in json_lines(path):
        problem, filtered = str(_field(path, row, "doc_id")), str(row.get("filter", "none"))
        rows[problem], prompts[problem] = str(row.get("doc_hash", "")), str(row.get("prompt_hash", ""))
        for metric in _field(path, row, "metrics"):
            value = row.get(metric)
            if isinstance(value, int | float):
                name = metric if filtered in ("none", "create_test") else f"{metric} ({filtered})"
                scores.setdefault(name, {}).setdefault(problem, []).append(float(value))
        responses = row.get("filtered_resps") or [[]]
        texts = responses[0] if isinstance(responses[0], list) else responses
        if len(texts) > 1:
            programs += 1
            copies += all(text == texts[0] for text in texts)
    if not scores:
        raise ConfigError(f"{path}: no line has a score that is a number")
    notes = [UNJUDGED.format(name=path.name, what="scores", form="lm-evaluation-harness")]
    if copies:
        notes.append(
            f"in {path.name}, all samples of {copies} of {programs} problems are copies of one another, as from a server that "
            "honours one fixed seed: they count as one"
        )
    values = {name: {p: sum(v) / len(v) for p, v in of.items()} for name, of in scores.items()}
    return RunData(
        name=path.name, path=path, form="lm-evaluation-harness",
        metrics={name: sum(of.values()) / len(of) for name, of in values.items()},
        owners=dict.fromkeys(values, "lm-eval"),
        judged={"lm-eval": Judged(passed={p: {} for p in rows}, rows=rows, prompts=prompts)},
        values=values, notes=tuple(notes),
    )  # fmt: skip


def _inspect(path: Path) -> RunData:
    """Samples of a log: scorer → problem → epoch → value. Passes where every value is 0 or 1, else means over epochs."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for name, data in members(path, "samples/"):
        try:
            sample = json.loads(data)
            problem, epoch, scores = str(sample["id"]), int(sample["epoch"]), sample.get("scores") or {}
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: member {name} is no sample of inspect's: {error}") from None
        for scorer, score in scores.items():
            value = _inspect_value(score.get("value") if isinstance(score, dict) else score)
            if value is not None:
                found.setdefault(scorer, {}).setdefault(problem, {})[epoch] = value
    if not found:
        raise ConfigError(f"{path}: no sample in it has a score that is a number or a grade")
    binary = {s for s, of in found.items() if all(v in (0.0, 1.0) for epochs in of.values() for v in epochs.values())}
    judged = {s: Judged(passed={p: {e: v == 1.0 for e, v in of.items()} for p, of in found[s].items()}) for s in binary}
    values = {s: {p: sum(of.values()) / len(of) for p, of in found[s].items()} for s in found if s not in binary}
    owners = {**{f"{s}_pass@1": s for s in judged}, **{s: s for s in values}}
    return RunData(
        name=path.name, path=path, form="inspect", owners=owners, judged=judged, values=values,
        metrics={metric: _mean_of_means(found[scorer]) for metric, scorer in owners.items()},
        notes=(UNJUDGED.format(name=path.name, what="scores", form="inspect"),),
    )  # fmt: skip


def _mean_of_means(of: Mapping[str, Mapping[int, float]]) -> float:
    return sum(sum(values.values()) / len(values) for values in of.values()) / len(of)


def _inspect_value(value: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    return LETTERS.get(value) if isinstance(value, str) else None
