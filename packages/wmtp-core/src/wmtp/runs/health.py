"""Is a run folder whole? What its numbers were made from is read once, and each thing that is not there told in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wmtp.contracts.runs import RunRecord
from wmtp.errors import ConfigError
from wmtp.runs.folder import read_object
from wmtp.runs.lines import json_lines

if TYPE_CHECKING:
    from wmtp.runs.reader import Run

FRESH = "--fresh"
"""What a fault mentions of which the command that made the run says the same: it says itself what to do."""
BY_HAND = f"Remove that line and run the command that made the run again, or run that with {FRESH} or another run.name"
KINDS = ("samples", "verdicts", "values", "prompts", "tests")
T = TypeVar("T")
Counts = dict[tuple[str, str], tuple[int, int] | None]
"""(kind, evaluator) → (lines, different problems or samples in them); ``None`` where the file is damaged."""


def faults(run: Run) -> tuple[str, ...]:
    """What of a run is damaged or lost, a sentence each; none where it is whole, as far as it has come.

    A last line that is cut off is nobody's fault while a process is writing it.
    """
    found: list[str] = []
    record = _tried(found, run.folder / "results.json", lambda _: run.record)
    for name in ("keys.json", "engine.json"):
        _tried(found, run.folder / name, read_object)
    held = run.held
    counts: Counts = {}
    for kind in KINDS:
        for path in sorted((run.folder / kind).glob("*.jsonl")):
            counts[kind, path.stem] = _tried(found, path, partial(_counted, kind=kind, held=held))
    if record is not None:
        found += [f"{run.folder}: {fault}" for fault in _lost(record, counts)]
        if not found and not held:
            found += [f"{run.folder}: {fault}" for fault in _changed(run, record)]
    return tuple(found)


def _changed(run: Run, record: RunRecord) -> Iterator[str]:
    """Where results.json states another value than the mean of its problems' own, all of which are there."""
    for who in run.evaluators_with("values"):
        for name, of in run.values(who).items():
            stated = record.metrics.get(name)
            if stated is None or stated.value is None or stated.problems != len(of):
                continue
            numbers = [v for v in of.values() if isinstance(v, int | float) and abs(v) < 1e300]
            mean = math.fsum(numbers) / len(of)
            if len(numbers) == len(of) and not math.isclose(mean, stated.value, rel_tol=1e-6, abs_tol=1e-9):
                yield (
                    f"results.json states {stated.value:.6g} of {name}, and the mean of values/{who}.jsonl is {mean:.6g}: one "
                    "of them was changed"
                )


def missing(run: Run, record: RunRecord) -> tuple[str, ...]:
    """What a finished run lacks that the command which made it would still do, a sentence each."""
    found = [f"{name} has no value: something is missing" for name, of in record.metrics.items() if of.value is None]
    found += [f"{who} failed: {what.error}" for who, what in record.failed_evaluators.items()]
    if count := record.judging.infrastructure:
        found.append(f"{count} verdict{'s' if count > 1 else ''} could not be reached, through no fault of the model")
    return (*found, *_values_missing(run, record))


def _values_missing(run: Run, record: RunRecord) -> Iterator[str]:
    """Where a problem's own value is not there. Metrics of which a plugin keeps none are no fault."""
    stated = {name: of.problems for name, of in record.metrics.items() if of.value is not None}
    kept = run.evaluators_with("values")
    for who, of in record.verdicts.items() if stated else ():
        if sum(of.values()) and who in run.evaluators_with("verdicts") and who not in kept:
            yield f"values/{who}.jsonl is missing"
    for who in kept:
        for name, values in run.values(who).items():
            if len(values) < stated.get(name, 0):
                yield f"values/{who}.jsonl has {len(values)} values of {name}, and results.json counts {stated[name]} problems"


def _tried(found: list[str], path: Path, read: Callable[[Path], T]) -> T | None:
    try:
        return read(path)
    except ConfigError as error:
        found.append(str(error))
    except OSError as error:
        found.append(f"{path}: cannot be read: {error.strerror or error}")
    return None


def _counted(path: Path, *, kind: str, held: bool) -> tuple[int, int]:
    """The lines of a file, and how many problems (values, prompts, tests) or samples they are about."""
    of_samples = kind in ("samples", "verdicts")
    names: set[tuple[str, int]] = set()
    lines = 0
    for number, row in enumerate(_rows(path, kind, held), 1):
        problem, index = row.get("problem"), row.get("index") if of_samples else 0
        if not isinstance(problem, str) or type(index) is not int or not _whole(row, kind):
            raise _damaged(f"{path}, record {number}: damaged: it is none of {kind}", kind)
        names.add((problem, index))
        lines += 1
    return lines, len(names)


def _whole(row: Mapping[str, Any], kind: str) -> bool:
    """Whether a line has what is read of it."""
    if kind == "samples":
        return isinstance(row.get("code", ""), str | None) and isinstance(row.get("extra", {}), dict)
    if kind == "verdicts":
        return isinstance(row.get("status"), str) and row.get("passed") is (row["status"] == "passed")
    if kind == "values":
        return isinstance(row.get("values"), dict)
    if kind == "tests":
        of = row.get("tests")
        return isinstance(of, dict) and all(n.isdecimal() and isinstance(text, str) for n, text in of.items())
    prompt = row.get("prompt")
    return isinstance(prompt, str) or (isinstance(prompt, list) and all(isinstance(turn, dict) for turn in prompt))


def _rows(path: Path, kind: str, held: bool) -> Iterator[dict[str, Any]]:
    """The lines; a last one that a process is just writing is left out."""
    try:
        yield from json_lines(path)
    except ConfigError as error:
        if "cut off" not in str(error):
            raise _damaged(str(error), kind) from None
        if not held:
            raise


def _damaged(said: str, kind: str) -> ConfigError:
    """With what to do about a line of samples or verdicts. Those of other kinds, and one cut off, are written anew unasked."""
    return ConfigError(f"{said.rstrip('.')}. {BY_HAND}" if kind in ("samples", "verdicts") else said)


def _lost(record: RunRecord, counts: Counts) -> Iterator[str]:
    """Where results.json counts more than there is."""
    samples = [of for (kind, _), of in counts.items() if kind == "samples"]
    stored = sum(of[0] for of in samples if of)
    if stored < record.generation.samples and None not in samples:
        yield f"results.json counts {record.generation.samples} samples, and samples/ holds {stored}"
    for evaluator, of in record.verdicts.items():
        wanted, found = sum(of.values()), counts.get(("verdicts", evaluator), (0, 0))
        if found is not None and found[1] < wanted:
            yield f"results.json counts {wanted} verdicts of {evaluator}, and verdicts/{evaluator}.jsonl holds {found[1]}"
