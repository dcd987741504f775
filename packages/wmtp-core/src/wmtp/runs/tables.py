"""Files of one evaluator that are replaced at once: per-problem values, prompts, and what it says in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wmtp import json_text
from wmtp.contracts.engines import Message
from wmtp.runs.folder import write_atomically

DETAILS = "details"
"""The folder of what evaluators say beside their metrics."""
NUMBERED = re.compile(r"test (\d+): ")
"""How the detail of a verdict begins that names the test which failed."""


def write_values(folder: Path, evaluator: str, values: Mapping[str, Mapping[str, float]]) -> None:
    """Write ``values/<evaluator>.jsonl``: a line a problem, with its value of every metric.

    Args:
        folder: The run folder.
        evaluator: Whose values.
        values: Metric → problem → value.
    """
    by_problem: dict[str, dict[str, float]] = {}
    for metric, of in values.items():
        for problem, value in of.items():
            by_problem.setdefault(problem, {})[metric] = value
    _write(folder / "values" / f"{evaluator}.jsonl", [{"problem": p, "values": v} for p, v in by_problem.items()])


def add_prompts(folder: Path, evaluator: str, prompts: Mapping[str, str | Sequence[Message]]) -> None:
    """Add to ``prompts/<evaluator>.jsonl`` what each problem's samples were asked with, once a problem."""
    path = folder / "prompts" / f"{evaluator}.jsonl"
    stored: dict[str, Any] = {}
    try:
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n").split("\n"):
            row = json_text.loads(line)
            stored[row["problem"]] = row["prompt"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        stored = {}  # nothing there, or damaged: the prompts are at hand, and are written anew
    merged = {**stored, **{p: x if isinstance(x, str) else [dict(turn) for turn in x] for p, x in prompts.items()}}
    if merged != stored:
        _write(path, [{"problem": problem, "prompt": prompt} for problem, prompt in merged.items()])


def write_details(folder: Path, evaluator: str, lines: Sequence[str]) -> None:
    """Write ``details/<evaluator>.md``, what an evaluator says beside its metrics; no file where it says nothing."""
    path = folder / DETAILS / f"{evaluator}.md"
    if lines:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, "\n".join(lines) + "\n")
    else:
        path.unlink(missing_ok=True)


def write_failing_tests(folder: Path, evaluator: str, tests: Mapping[str, Mapping[int, str]]) -> None:
    """Write ``tests/<evaluator>.jsonl``: a line a problem, with the tests of it that programs failed; no file without any."""
    path = folder / "tests" / f"{evaluator}.jsonl"
    if tests:
        _write(path, [{"problem": problem, "tests": dict(of)} for problem, of in tests.items()])
    else:
        path.unlink(missing_ok=True)


def failed_tests(verdict: Mapping[str, Any]) -> tuple[int, ...]:
    """The tests that a program failed, by a verdict's line: all, where all were run, else the one that it names."""
    told = verdict.get("failed_tests")
    if isinstance(told, list) and told:
        return tuple(number for number in told if type(number) is int)
    match = NUMBERED.match(str(verdict.get("detail", "")))
    return (int(match[1]),) if match and verdict.get("status") != "passed" else ()


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    write_atomically(path, "".join(line + "\n" for line in lines))
