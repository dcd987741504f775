"""The tests that programs failed are kept as text, those and no others."""

from __future__ import annotations

from typing import Any

import pytest

import wmtp
from wmtp.contracts.engines import SampleKey
from wmtp.contracts.evaluation import Verdict
from wmtp.contracts.judging import Outcome
from wmtp.evaluation.failing_tests import LONGEST, failing_tests


def verdict(detail: str, status: Any = "failed", failed: tuple[int, ...] = ()) -> Verdict:
    key = SampleKey(evaluator="toy-v1", problem="p", index=0)
    outcome = Outcome(status=status, detail=detail, failed_tests=failed)
    return Verdict(key=key, code_sha256="c", outcome=outcome, judge_key="k")


def calls() -> wmtp.CallTests:
    return wmtp.CallTests(tests=("assert f(1) == 1", "assert f(2) == 2", "assert f(3) == '" + "x" * 9000 + "'"))


def test_the_tests_that_failed_are_told_by_number() -> None:
    found = failing_tests([verdict("test 2: the assertion is false"), verdict("", "passed")], calls)
    assert found == {2: "assert f(2) == 2"}
    assert set(failing_tests([verdict("test 1: x", failed=(1, 3))], calls)) == {1, 3}


def test_a_long_test_is_cut() -> None:
    text = failing_tests([verdict("test 3: the assertion is false")], calls)[3]
    assert len(text) < LONGEST + 50
    assert text.endswith("characters more")


def test_what_a_program_read_is_told_with_what_it_should_have_printed() -> None:
    read: list[int] = []

    def cases() -> Any:
        for number in range(1, 9):
            read.append(number)
            yield wmtp.StdioCase(input=f"{number}\n", expected=f"{2 * number}\n")

    found = failing_tests([verdict("test 2: another output", "failed")], lambda: wmtp.StdioTests(cases=cases()))
    assert found == {2: "input:\n2\n\nexpected:\n4\n"}
    assert read == [1, 2]  # tests behind it are not read


@pytest.mark.parametrize("detail", ["", "the program does not end", "SyntaxError: test 1: x", "test one: x"])
def test_no_tests_are_made_where_none_is_named(detail: str) -> None:
    assert failing_tests([verdict(detail, "error")], lambda: pytest.fail("made")) == {}
