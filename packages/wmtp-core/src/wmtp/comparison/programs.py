"""The programs that runs have for one problem, to look at beside one another."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from wmtp.comparison.foreign import read_file
from wmtp.comparison.texts import SCORED, read_texts
from wmtp.errors import ConfigError
from wmtp.runs.printable import one_line
from wmtp.runs.reader import Run, open_run
from wmtp.runs.tables import failed_tests

NO_TEXT = "(this file holds no programs)"
NO_PROGRAM = "(no program in the completion)"
TESTS_SHOWN = 3  # failing tests of a program that are printed, as the page has it


def lines(runs: Sequence[Path], problem: str) -> Iterator[str]:
    """Yield every run's programs for a problem as text. Raises ConfigError where a run has none, or is not whole."""
    for path in runs:
        if not path.exists():
            raise ConfigError(f"{path}: there is no such run folder or file")
        yield from _of_folder(path, problem) if path.is_dir() else _of_file(path, problem)


def _of_folder(folder: Path, problem: str) -> Iterator[str]:
    run = open_run(folder)
    run.check_whole()
    known: set[str] = set()
    found = False
    for evaluator in run.evaluators_with("samples"):
        samples = _last(run, "samples", evaluator, problem, known)
        verdicts = _last(run, "verdicts", evaluator, problem, known) if samples else {}
        tests = run.failing_tests(evaluator).get(problem, {}) if samples else {}
        for index in sorted(samples):
            found = True
            verdict = verdicts.get(index, {})
            where = f"{folder} · {evaluator} · {problem} · sample {index}"
            yield _head(where, verdict.get("status", "not judged"), str(verdict.get("detail", "")))
            yield str(samples[index].get("code") or NO_PROGRAM)
            for number in [n for n in failed_tests(verdict) if n in tests][:TESTS_SHOWN]:
                yield f"-- the test that failed, {number}:"
                yield tests[number]
            yield ""
    if not found:
        raise _unknown(folder, problem, known)


def _last(run: Run, kind: str, evaluator: str, problem: str, known: set[str]) -> dict[int, dict[str, Any]]:
    """A problem's lines by index, the last one of an index winning. known: takes the problems that there are."""
    found = {}
    for row in run.rows(kind, evaluator):
        known.add(row["problem"])
        if row["problem"] == problem:
            found[row["index"]] = row
    return found


def _of_file(path: Path, problem: str) -> Iterator[str]:
    """What a file of another tool has of a problem: answers, or scores alone."""
    run = read_file(path)
    texts = read_texts(run)
    samples = [sample for sample in texts.samples if sample.problem == problem]
    scores = [f"{metric} {of[problem]:.4g}" for metric, of in run.values.items() if problem in of]
    if not samples and not scores:
        raise _unknown(
            path, problem, {s.problem for s in texts.samples} | {p for of in run.values.values() for p in of}
        )
    yield one_line(f"note: {run.notes[0]}")
    if scores:
        yield one_line(f"== {path} · {problem}: {', '.join(scores)}")
    for sample in samples:
        if sample.status != SCORED or sample.text is not None:
            yield _head(f"{path} · {problem} · sample {sample.index}", sample.status, sample.detail)
            yield NO_TEXT if sample.text is None else sample.text or NO_PROGRAM
            yield ""
    if not texts.programs and not samples:
        yield NO_TEXT


def _head(where: str, status: str, detail: str) -> str:
    detail = "; ".join(line.strip() for line in detail.strip().splitlines())
    return one_line(f"== {where}: {status}" + (f" ({detail})" if detail else ""))


def _unknown(path: Path, problem: str, known: Collection[str]) -> ConfigError:
    near = difflib.get_close_matches(problem, known, n=1)
    some = sorted(known, key=lambda name: (len(name), name))[:3]
    told = f". Did you mean {near[0]!r}?" if near else f"; it has {', '.join(map(one_line, some))}, …" if some else ""
    return ConfigError(f"{path} has no samples of problem {problem!r}{told}")
