"""What a benchmark's author gets wrong is said with the method and the problem, before anything is stored of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import wmtp
from wmtp.errors import PluginError


def returns(value: Any) -> Callable[..., Any]:
    return lambda *_: value


def raises(*_: Any) -> Any:
    raise KeyError("ask")


CASE = ("1\n", "2\n")
FAULTS: list[tuple[str, Any, str]] = [
    ("stop", "\n\n", r"must be a tuple of texts, not '\\n\\n'; write \('\\n\\n',\)"),
    ("stop", ("END", ""), "empty text"),
    ("stop", None, "must be a tuple of texts"),
    ("pass_metric", None, "must be text"),
    ("known_bad", ["p0"], "must be a mapping"),
    ("form", raises, "this task: KeyError: 'ask'"),
    ("prompt_form", raises, "this task: KeyError: 'ask'"),
    ("problems", returns(None), "the rows: TypeError"),
    ("problems", returns(iter([{"id": "p0"}])), "row 0: TypeError: it gave {'id': 'p0'}, not a wmtp.Problem"),
    ("problems", raises, "the rows: KeyError"),
    ("problems", lambda _, rows: (wmtp.Problem(i, row) for i, row in enumerate(rows)), "row 0: TypeError: Problem.id"),
    ("prompt", returns(""), "problem p0: ValueError: the prompt is empty"),
    ("prompt", returns([]), "problem p0: ValueError: the prompt is empty"),
    ("prompt", returns(None), "problem p0: TypeError"),
    ("prompt", returns(b"x"), "problem p0: TypeError"),
    ("prompt", returns(["hi"]), "problem p0: TypeError.*'hi'"),
    ("prompt", returns([{"role": "user"}]), "problem p0: TypeError.*'content'"),
    ("prompt", returns([{"role": "user", "content": ""}]), "problem p0: ValueError"),
    ("prompt", raises, "problem p0: KeyError: 'ask'"),
    ("reference", returns(3), "problem p0: TypeError: it returned 3"),
    ("code", returns(3), "problem p0, sample 0: TypeError: it returned 3"),
    ("code", returns(["def f(): pass"]), "problem p0, sample 0: TypeError"),
    ("code", raises, "problem p0, sample 0: KeyError: 'ask'"),
    ("program", returns({"tests": ()}), "problem p0, sample 0: TypeError: it returned {'tests': \\(\\)}"),
    ("program", returns(None), "problem p0, sample 0: TypeError: it returned None"),
    ("program", lambda *_: wmtp.CallTests(tests="assert f()"), "problem p0, sample 0: TypeError: CallTests.tests"),  # type: ignore[arg-type]
    ("program", lambda *_: wmtp.StdioTests(cases=(CASE,)), "problem p0, sample 0: TypeError: StdioTests.cases holds"),  # type: ignore[arg-type]
    ("program", lambda *_: wmtp.StdioTests(cases="12"), "problem p0, sample 0: TypeError: StdioTests.cases"),  # type: ignore[arg-type]
    ("program", lambda *_: wmtp.StdioTests(cases=iter([CASE])), "problem p0, sample 0, reading its cases: TypeError"),  # type: ignore[arg-type]
    ("program", lambda *_: wmtp.StdioTests(cases=map(raises, [1])), "sample 0, reading its cases: KeyError: 'ask'"),
    ("score", returns({"text_length": float("nan")}), "problem p0: ValueError: must be a finite number"),
    ("score", returns({"text_length": "3"}), "problem p0: TypeError: must be a number"),
    ("score", raises, "problem p0: KeyError: 'ask'"),
]


@pytest.mark.parametrize(("name", "value", "words"), FAULTS)
def test_a_fault_of_a_benchmark_names_its_method_and_the_problem(
    bench: Any, text_benchmark: type[wmtp.CodeBenchmark], name: str, value: Any, words: str
) -> None:
    judged = bench.judge.submit

    def reading(code: str, tests: Any) -> Any:
        assert not isinstance(tests, wmtp.StdioTests) or list(tests.cases)
        return judged(code, tests)

    bench.judge.submit = reading
    bench.benchmark = type("Faulty", (text_benchmark,), {name: value})
    with pytest.raises(PluginError, match=rf"^Faulty\.{name} of text-v1 .*{words}"):
        bench.run(["passed"], metrics=("text_pass@1", "text_length"))


@pytest.mark.parametrize(
    "fields",
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": "0.5"},
        {"value": True},
        {"low": 0.9, "high": 0.2},
    ],
)
def test_a_metric_is_a_number_that_a_file_can_hold(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=r"MetricValue\.(value|low)"):
        wmtp.MetricValue(**{"value": 0.5, "low": 0.4, "high": 0.6, "problems": 1, "samples": 1, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"values": {"m": {"p0": "x"}}},
        {"values": {"m": {0: 1.0}}},
        {"values": {"m": {"p0": float("nan")}}},
        {"values": {"m": {"p0": None}}},
        {"values": {"m": [1.0]}},
        {"too_long": {"error": "x"}},
        {"failed": {"x": "y"}},
        {"failing_tests": {"p0": ["x"]}},
        {"notes": "one"},
    ],
)
def test_a_result_is_refused_where_it_is_made(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"EvaluationResult\.{next(iter(fields))} "):
        wmtp.EvaluationResult(evaluator="x-v1", metrics={}, **fields)


def test_a_record_names_itself_where_a_choice_or_a_class_is_wrong() -> None:
    key = wmtp.SampleKey(evaluator="x-v1", problem="p", index=0)
    made: dict[str, Any] = {"key": key, "text": "", "finish_reason": "stop", "tokens": 0, "seconds": 0}
    with pytest.raises(ValueError, match=r"^Completion\.finish_reason must be one of 'stop', .*, not 'eos'$"):
        wmtp.Completion(**{**made, "finish_reason": "eos"})
    with pytest.raises(TypeError, match=r"^Completion\.key must be a wmtp\.SampleKey, not 'p'$"):
        wmtp.Completion(**{**made, "key": "p"})
