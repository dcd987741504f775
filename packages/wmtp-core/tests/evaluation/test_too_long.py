"""``eval.too_long``: a prompt that does not fit the model's context costs what the user said, and it is counted and shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import pytest

import wmtp

ANSWERS = ["passed", "passed", "failed"]


def fitting(bench: Any, words: dict[str, int]) -> Any:
    """An engine whose context holds so many words of each problem's prompt."""

    def engine(requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> Iterator[wmtp.Completion]:
        for request in requests:
            length = len((request.prompt or "").split())
            if length > words.get(request.key.problem, 99):
                bench.requests.append(request)
                yield wmtp.Completion(
                    key=request.key, text="", finish_reason="too-long", tokens=0, seconds=0.0,
                    error=f"the prompt has {length} words",
                )  # fmt: skip
            else:
                yield from bench.generate([request], sampling)

    return engine


@pytest.fixture
def shots(bench: Any, text_benchmark: Any) -> Any:
    """The benchmark shows three solved examples, a word each."""

    class Shots(text_benchmark):  # type: ignore[misc]
        def prompt(self, problem: wmtp.Problem) -> str:
            return next(self.prompts(problem))

        def prompts(self, problem: wmtp.Problem) -> Iterator[str]:
            for count in (3, 2, 1, 0):
                yield "example " * count + f"{self.settings.style} {problem.id}"

    bench.benchmark = Shots
    return bench


def prompts_of(bench: Any) -> dict[str, str]:
    lines = (bench.folder / "prompts" / "text-v1.jsonl").read_text().splitlines()
    return {row["problem"]: row["prompt"] for row in map(json.loads, lines)}


def stored(bench: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bench.folder / "samples" / "text-v1.jsonl").read_text().splitlines()]


def test_by_default_the_metric_has_no_value_and_the_note_says_which_key_would_change_that(bench: Any) -> None:
    result = bench.run(ANSWERS, engine=fitting(bench, {"p1": 1}))
    assert result.metrics["text_pass@1"].value is None
    assert result.too_long == {"error": 1}
    first, second = result.notes
    assert first == "problem p1, sample 0: the prompt has 2 words"
    assert "1 sample of 1 problem (p1)" in second
    assert "eval.too_long: fail" in second
    assert [row["problem"] for row in stored(bench)] == ["p0", "p2"], "nothing is stored of it"


def test_fail_counts_its_samples_as_failed_without_judging_them(bench: Any) -> None:
    result = bench.run(ANSWERS, n=2, engine=fitting(bench, {"p1": 1}), too_long="fail")
    assert result.metrics["text_pass@1"].value == pytest.approx(1 / 3)
    assert result.too_long == {"fail": 2}
    assert result.counts == {"passed": 2, "no-code": 2, "failed": 2}
    (note,) = result.notes
    assert note.startswith("2 samples of 1 problem (p1)")
    assert "counted as failed" in note
    (line, _) = [row for row in stored(bench) if row["problem"] == "p1"]
    assert (line["finish_reason"], line["extra"]["rule"]) == ("too-long", "prompt too long")
    assert bench.judge.judged.count("passed") == 2


def test_fewer_shots_asks_again_with_as_many_examples_as_fit(shots: Any) -> None:
    fits = {"p0": 5, "p1": 3, "p2": 2}  # 3, 1 and 0 examples beside two words
    result = shots.run(ANSWERS, n=2, engine=fitting(shots, fits), too_long="fewer-shots")
    assert result.metrics["text_pass@1"].value == pytest.approx(2 / 3)
    assert result.too_long == {"fewer-shots": 4}
    assert prompts_of(shots) == {"p0": "example example example plain p0", "p1": "example plain p1", "p2": "plain p2"}
    left_out = {row["problem"]: row.get("extra", {}).get("shots_left_out", 0) for row in stored(shots)}
    assert left_out == {"p0": 0, "p1": 2, "p2": 3}
    assert "asked with fewer solved examples" in result.notes[0]


def test_fewer_shots_goes_on_where_it_was_stopped(shots: Any) -> None:
    fits = {"p1": 3}
    first = shots.run(ANSWERS, n=1, engine=fitting(shots, fits), too_long="fewer-shots")
    shots.requests.clear()
    again = shots.run(ANSWERS, n=1, engine=fitting(shots, fits), too_long="fewer-shots")
    assert shots.requests == []
    assert again.metrics == first.metrics
    assert again.too_long == first.too_long
    more = shots.run(ANSWERS, n=2, engine=fitting(shots, fits), too_long="fewer-shots")
    asked = [r.prompt for r in shots.requests if r.key.problem == "p1"]
    assert asked == ["example plain p1"], "the second sample is asked with what fitted the first"
    assert more.too_long == {"fewer-shots": 2}
    assert prompts_of(shots)["p1"] == "example plain p1"


def test_what_fits_without_any_example_no_more_is_an_error(shots: Any) -> None:
    result = shots.run(ANSWERS, engine=fitting(shots, {"p0": 4, "p1": 1}), too_long="fewer-shots")
    assert result.metrics["text_pass@1"].value is None
    assert result.too_long == {"error": 1, "fewer-shots": 1}


def test_a_benchmark_without_examples_has_nothing_to_leave_out(bench: Any) -> None:
    result = bench.run(ANSWERS, engine=fitting(bench, {"p1": 1}), too_long="fewer-shots")
    assert result.too_long == {"error": 1}
    assert len(bench.requests) == 3


@pytest.mark.parametrize("then", ["error", "fewer-shots"])
def test_the_key_may_change_between_two_sessions_of_a_run(shots: Any, then: str) -> None:
    """What was stored under another value is made again, and the rest stays."""
    engine = fitting(shots, {"p1": 4})
    stopped = shots.run(ANSWERS, engine=engine, too_long="error")
    assert stopped.metrics["text_pass@1"].value is None
    shots.requests.clear()
    failed = shots.run(ANSWERS, engine=engine, too_long="fail")
    assert failed.metrics["text_pass@1"].value == pytest.approx(1 / 3)
    assert [r.key.problem for r in shots.requests] == ["p1"]
    last = shots.run(ANSWERS, engine=engine, too_long=then)
    assert last.metrics["text_pass@1"].value == (None if then == "error" else pytest.approx(2 / 3))
    assert last.too_long == ({"error": 1} if then == "error" else {"fewer-shots": 1})
    back = shots.run(ANSWERS, engine=engine, too_long="fail")
    assert back.metrics == failed.metrics
    assert back.too_long == {"fail": 1}
    assert shots.run(ANSWERS, engine=engine, too_long=then).metrics == last.metrics


def test_another_prompt_is_still_refused(shots: Any, text_settings: Any) -> None:
    shots.run(ANSWERS, too_long="fewer-shots")
    shots.benchmark = attrs.make_class("Other", [], bases=(shots.benchmark,))
    shots.benchmark.prompts = lambda self, problem: iter(["something else"])
    with pytest.raises(wmtp.ConfigError, match="another prompt"):
        shots.run(ANSWERS, too_long="fewer-shots")
