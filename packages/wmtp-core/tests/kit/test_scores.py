"""Scores that benchmarks share: without known-bad problems, by group, and of all tests."""

from __future__ import annotations

from typing import Any

import pytest

from wmtp.contracts.engines import SampleKey
from wmtp.contracts.evaluation import EvaluationResult, MetricValue, Verdict
from wmtp.contracts.judging import Outcome
from wmtp.errors import ConfigError
from wmtp.kit import share_of_tests, table_by_group, without_known_bad

BAD = {"b": "its test is wrong", "z": "not in this split"}


def result(value: float | None = 0.5, **problems: float) -> EvaluationResult:
    metric = MetricValue(value=value, low=value, high=value, problems=len(problems), samples=len(problems))
    return EvaluationResult(evaluator="e", metrics={"m@1": metric}, values={"m@1": problems}, report=("before",))


def test_both_scores_and_the_reasons_are_shown() -> None:
    found = without_known_bad(result(a=1.0, b=0.0), BAD)
    assert found.metrics == result(a=1.0, b=0.0).metrics
    assert found.report[0] == "before"
    assert "| `m@1` | 50.0 % of 2 | 100.0 % of 1 |" in found.report
    assert found.report[-1] == "- b: its test is wrong"


def test_nothing_is_said_where_there_is_nothing_to_leave_out_or_no_score() -> None:
    assert without_known_bad(result(a=1.0, c=0.0), BAD) == result(a=1.0, c=0.0)
    assert without_known_bad(result(None, a=1.0, b=0.0), BAD) == result(None, a=1.0, b=0.0)


def test_nothing_may_be_left() -> None:
    assert "| `m@1` | 0.0 % of 1 | — |" in without_known_bad(result(0.0, b=0.0), BAD).report


def _verdict(**outcome: Any) -> Verdict:
    key = SampleKey(evaluator="e", problem="a", index=0)
    return Verdict(key=key, code_sha256="", outcome=Outcome(**outcome), judge_key="")


def test_a_share_of_tests_wants_all_of_them_run() -> None:
    passed, none = _verdict(status="passed", tests_passed=4, tests=4), _verdict(status="no-code")
    half = _verdict(status="failed", tests_passed=2, tests=4, failed_tests=(2, 3))
    late = _verdict(status="timeout", tests_passed=4, tests=4)
    assert share_of_tests([passed, half, none, late]) == (1 + 0.5 + 0 + 1) / 4
    with pytest.raises(ConfigError, match="problem a, sample 0: not all of its tests were run"):
        share_of_tests([passed, _verdict(status="failed", tests_passed=2, tests=3)])


def test_scores_by_group_leave_out_problems_that_lack_one() -> None:
    values = {"p@1": {"a": 1.0, "b": 0.0, "c": 1.0}, "p@2": {"a": 1.0, "b": 1.0}}
    assert list(table_by_group(values, {"a": "May", "b": "May", "c": "June", "d": "June"}, "month")) == [
        "| month | problems | `p@1` | `p@2` |", "|---|---:|---:|---:|", "| May | 2 | 50.0 % | 100.0 % |",
    ]  # fmt: skip
    assert list(table_by_group({"p@1": {}}, {"a": "May"}, "month")) == []
