"""A score without the problems that are known to be bad stands beside the score, in the report and nowhere else."""

from __future__ import annotations

from wmtp.contracts.evaluation import EvaluationResult, MetricValue
from wmtp.kit import without_known_bad

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
