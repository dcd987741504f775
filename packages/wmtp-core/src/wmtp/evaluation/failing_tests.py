"""The tests that programs failed, as text for people: a verdict names one by its number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wmtp.contracts.evaluation import Verdict
from wmtp.contracts.judging import CallTests, StdioTests
from wmtp.runs.tables import NUMBERED

MOST = 5  # tests that one program failed, where all were run
LONGEST = 2000  # characters of a test, or of one side of it, that are kept


def failing_tests(verdicts: Sequence[Verdict], tests: Callable[[], CallTests | StdioTests]) -> dict[int, str]:
    """Return number → text of the tests that one problem's programs failed.

    Args:
        verdicts: Of the problem. Where a verdict names no test, none failed: the program did not come so far.
        tests: Returns the problem's tests; called only where one failed.
    """
    failed = [v.outcome for v in verdicts if not v.outcome.passed]
    named = (NUMBERED.match(outcome.detail) for outcome in failed)
    numbers = {int(match[1]) for match in named if match} | {n for of in failed for n in of.failed_tests[:MOST]}
    if not numbers:
        return {}
    found = tests()
    texts: Iterable[str] = (
        found.tests
        if isinstance(found, CallTests)
        else (f"input:\n{_cut(case.input)}\nexpected:\n{_cut(case.expected)}" for case in found.cases)
    )
    kept: dict[int, str] = {}
    for number, text in enumerate(texts, 1):
        if number in numbers:
            kept[number] = _cut(text) if isinstance(found, CallTests) else text
        if len(kept) == len(numbers):
            break
    return kept


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … {len(text) - LONGEST} characters more"
