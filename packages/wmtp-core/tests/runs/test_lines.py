"""Records, and the lines they become."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wmtp
from wmtp.runs.lines import SAMPLES, VERDICTS
from wmtp.runs.record import from_json, schema, to_json

OLD_SAMPLE = (
    b'{"schema":1,"evaluator":"e","problem":"p","index":0,"completion":"x","code":null,"finish_reason":"stop","tokens":1,'
    b'"seconds":0.5,"prompt_sha256":"a","generation_key":"b"}\n'
)
OLD_VERDICT = (
    b'{"schema":1,"evaluator":"e","problem":"p","index":0,"code_sha256":"c","status":"passed","passed":true,"tests_passed":3,'
    b'"tests":3,"cpu_seconds":0.1,"wall_seconds":0.2,"peak_mib":11.6,"detail":"","judge_key":"d"}\n'
)
key = st.builds(wmtp.SampleKey, evaluator=st.text(min_size=1), problem=st.text(min_size=1), index=st.integers(0, 99))
numbers = st.floats(0, 1e6)


def test_lines_are_byte_for_byte_what_they_were() -> None:
    assert SAMPLES.to_line(SAMPLES.from_line(OLD_SAMPLE)) == OLD_SAMPLE
    assert VERDICTS.to_line(VERDICTS.from_line(OLD_VERDICT)) == OLD_VERDICT


@given(key, st.text(), st.none() | st.text(), st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_a_sample_survives_its_line(key: wmtp.SampleKey, text: str, code: str | None, extra: dict[str, Any]) -> None:
    sample = wmtp.Sample(
        key=key, completion=text, code=code, finish_reason="stop", tokens=1, seconds=0.5, prompt_sha256="", generation_key="",
        extra=extra,
    )  # fmt: skip
    assert SAMPLES.from_line(SAMPLES.to_line(sample)) == sample


@given(key, st.sampled_from(["passed", "failed", "infrastructure"]), numbers, st.text())
def test_a_verdict_survives_its_line(key: wmtp.SampleKey, status: Any, seconds: float, detail: str) -> None:
    outcome = wmtp.Outcome(status=status, cpu_seconds=seconds, detail=detail)
    verdict = wmtp.Verdict(key=key, code_sha256="c", outcome=outcome, judge_key="d")
    assert VERDICTS.from_line(VERDICTS.to_line(verdict)) == verdict


@pytest.mark.parametrize(
    "make",
    [
        lambda: wmtp.Sampling(temperature=-1),
        lambda: wmtp.Sampling(temperature=float("nan")),
        lambda: wmtp.Sampling(top_p=0),
        lambda: wmtp.Sampling(n=0),
        lambda: wmtp.Sampling(n=True),
        lambda: wmtp.Sampling(seed=-1),
        lambda: wmtp.Sampling(0.5),  # type: ignore[misc]
        lambda: wmtp.Problem(id=3, row={}),  # type: ignore[arg-type]
        lambda: wmtp.SampleKey(evaluator="e", problem="p", index=-1),
        lambda: wmtp.SampleKey(evaluator="e", problem=1, index=0),  # type: ignore[arg-type]
        lambda: wmtp.GenerationRequest(key=wmtp.SampleKey(evaluator="e", problem="p", index=0), prompt=""),
        lambda: wmtp.GenerationRequest(key=wmtp.SampleKey(evaluator="e", problem="p", index=0), prompt="x", stop="end"),  # type: ignore[arg-type]
        lambda: wmtp.CallTests(tests="assert f(1)"),  # type: ignore[arg-type]
        lambda: wmtp.StdioCase(input=b"1", expected="1"),  # type: ignore[arg-type]
        lambda: wmtp.Outcome(status="fine"),  # type: ignore[arg-type]
    ],
)
def test_a_record_refuses_what_it_cannot_be(make: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        make()


def test_a_line_that_contradicts_itself_is_damaged() -> None:
    with pytest.raises(ValueError, match="contradict"):
        VERDICTS.from_line(OLD_VERDICT.replace(b'"passed":true', b'"passed":false'))
    with pytest.raises(ValueError, match="fields"):
        SAMPLES.from_line(OLD_SAMPLE.replace(b'"tokens":1,', b""))


def test_a_request_travels() -> None:
    key = wmtp.SampleKey(evaluator="e", problem="p", index=2)
    request = wmtp.GenerationRequest(key=key, prompt="x", stop=("END",))
    assert pickle.loads(pickle.dumps(request)) == request
    assert pickle.loads(pickle.dumps(wmtp.Sampling(temperature=0.5, extra={"top_k": 3}))).extra == {"top_k": 3}


def test_the_records_schema_has_every_field_and_the_record_survives_json() -> None:
    value = wmtp.MetricValue(value=0.5, low=0.1, high=0.9, problems=2, samples=4, method="wilson-effective")
    record = from_json({"schema": 1, "run": {"name": "r"}})
    body = to_json(wmtp.RunRecord(run=record.run, metrics={"m": value}))
    assert from_json(json.loads(json.dumps(body))) == wmtp.RunRecord(run=record.run, metrics={"m": value})
    assert set(body) == set(schema()["properties"])
    assert "unit" not in body["metrics"]["m"]
    with pytest.raises(wmtp.ConfigError, match="schema 7"):
        from_json({"schema": 7})
    with pytest.raises(wmtp.ConfigError, match="name"):
        from_json({"schema": 1, "run": {"name": 5}})
