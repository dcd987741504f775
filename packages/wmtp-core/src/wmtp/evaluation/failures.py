"""What report.md says of the programs that failed: which problems nobody solved, why, and a few to look at."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence

from wmtp.contracts.evaluation import Sample, Verdict
from wmtp.runs.printable import printable

EXAMPLES = 3
EXAMPLE_LINES = 25
UNSOLVED = 200
MODULES = 5  # that programs lacked, named one by one
_EXCEPTION = re.compile(r"\b[A-Za-z_.]*(?:Error|Exception|Exit|Interrupt|Iteration)\b")
_NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '(\w{1,60})")


class Failures:
    """Fed one problem after another; keeps counts and a few examples, so its memory does not grow with the samples."""

    def __init__(self) -> None:
        self._problems = 0
        self._unsolved: list[str] = []
        self._reasons: Counter[str] = Counter()
        self._examples: dict[str, tuple[Sample, Verdict]] = {}
        self._lacking: Counter[str] = Counter()

    def add(self, problem: str, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> None:
        self._problems += 1
        if not any(v.outcome.passed for v in verdicts):
            self._unsolved.append(problem)
        by_index = {s.key.index: s for s in samples}
        for verdict in verdicts:
            if not verdict.outcome.passed:
                reason = _reason(verdict)
                self._reasons[reason] += 1
                lacking = _NO_MODULE.search(verdict.outcome.detail)
                if lacking and lacking[1] not in sys.stdlib_module_names:
                    self._lacking[lacking[1]] += 1
                if reason not in self._examples and len(self._examples) < EXAMPLES and verdict.key.index in by_index:
                    self._examples[reason] = by_index[verdict.key.index], verdict

    def markdown(self) -> tuple[str, ...]:
        """Lines for report.md; none where nothing failed."""
        if not self._reasons:
            return ()
        solved = self._problems - len(self._unsolved)
        lines = [f"{solved} of {self._problems} problems were solved by at least one sample.", ""]
        lines += ["| programs | ended |", "|---:|---|"]
        lines += [f"| {count} | {reason} |" for reason, count in self._reasons.most_common(12)]
        if self._lacking:
            modules = ", ".join(f"`{name}` ({count})" for name, count in self._lacking.most_common(MODULES))
            lines += [
                "",
                f"Programs that imported a module which is not Python's own: {self._lacking.total()}, {modules}. They see "
                "Python's own library only; what is installed here can be lent to them by `judging.packages`, like "
                "`judging.packages: [numpy]`.",
            ]
        if self._unsolved:
            shown, more = self._unsolved[:UNSOLVED], len(self._unsolved) - UNSOLVED
            lines += [
                "",
                "Unsolved: " + ", ".join(map(_plain, shown)) + (f" and {more} more" if more > 0 else "") + ".",
            ]
        for sample, verdict in self._examples.values():
            lines += [
                "",
                f"Problem {_plain(sample.key.problem)}, sample {sample.key.index}: "
                f"{_plain(verdict.outcome.detail or verdict.outcome.status)}",
                "",
            ]
            lines += _fenced(sample.code or sample.completion)
        return tuple(lines)


def _reason(verdict: Verdict) -> str:
    outcome = verdict.outcome
    found = _EXCEPTION.search(outcome.detail) if outcome.status in ("error", "failed") else None
    return f"{outcome.status}, {found[0]}" if found else outcome.status


def _plain(text: str) -> str:
    """One line that a model cannot turn into markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|!])", r"\\\1", printable(" ".join(text.split())))


def _fenced(text: str) -> list[str]:
    if not text.strip():
        return ["(nothing)"]
    # Not by splitlines: a form feed or a lone carriage return ends no line here, it is shown.
    lines = printable(text.replace("\r\n", "\n")).rstrip("\n").split("\n")
    if len(lines) > EXAMPLE_LINES:
        lines = [*lines[:EXAMPLE_LINES], f"# … {len(lines) - EXAMPLE_LINES} more lines"]
    longest = max((len(m) for m in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}python", *lines, fence]
