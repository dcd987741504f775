"""The tests behind the one that failed, where all are asked for. What is found here changes no verdict: that stands already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests

Answer = dict[str, Any]
Ask = Callable[..., Answer]
"""Code, tests, and for calls the number of a test to leave out: how the judge answers."""


def results(ask: Ask, code: str, tests: CallTests | StdioTests, first: Answer, *, begun: bool, skip: int) -> Answer:
    """What to tell of a failed program beside its verdict.

    Args:
        ask: Runs the program again.
        code: The program.
        tests: All of its tests; cases can be read again.
        first: How it ended.
        begun: Whether it came as far as a test.
        skip: Of calls: the number of the test that ended the program, or 0.

    Returns:
        `tests_passed`, `tests` and `failed_tests`; or another status, where our own processes ended.
    """
    if isinstance(tests, CallTests):
        count = len(tests.tests)
        found = _calls(ask, code, tests, first, begun=begun, skip=skip)
    else:
        cases: Sequence[StdioCase] = tests.cases  # type: ignore[assignment] # made a tuple by the judge
        count = len(cases)
        found = _cases(ask, code, attrs.evolve(tests, all_tests=False), cases, first) if begun else []
    if not isinstance(found, list):
        return found
    passed = {*range(1, first.get("tests_passed", 0) + 1), *found}
    failed = tuple(number for number in range(1, count + 1) if number not in passed)
    return {"tests_passed": len(passed), "tests": count, "failed_tests": failed}


def _calls(ask: Ask, code: str, tests: CallTests, first: Answer, *, begun: bool, skip: int) -> list[int] | Answer:
    """Tests share names and the program's state, so the earlier ones are run once more; their results stand."""
    failed = first.get("tests_passed", 0) + 1
    if not begun or failed == len(tests.tests):
        return []
    found = ask(code, tests, skip)
    if found.get("status") == "infrastructure":
        return found
    return [number for number in found.get("passed", ()) if number > failed]


def _cases(ask: Ask, code: str, tests: StdioTests, cases: Sequence[StdioCase], first: Answer) -> list[int] | Answer:
    """A run each: from one failure to the next."""
    passed: list[int] = []
    position = first["tests"]
    while position < len(cases):
        found = ask(code, attrs.evolve(tests, cases=cases[position:]))
        if found["status"] == "infrastructure":
            return found
        right = found.get("tests_passed", 0)
        passed += range(position + 1, position + 1 + right)
        position += right + 1
    return passed
