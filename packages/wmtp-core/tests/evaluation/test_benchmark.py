"""`CodeBenchmark`: what is generated, judged and counted, and what is left alone."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

import wmtp
from wmtp import kit
from wmtp.events import ProgressTotals, SampleGenerated


def test_statuses_are_counted_and_only_passed_passes(bench: Any) -> None:
    answers = ["passed", "failed", "error", "timeout", "memory", "output", "blocked", ""]
    result = bench.run(answers)
    assert result.counts == {**{a: 1 for a in answers if a}, "no-code": 1}
    assert result.metrics["text_pass@1"].value == 1 / 8
    assert "" not in bench.judge.judged, "what is no program is not judged"


def test_a_failure_of_the_judge_is_never_a_failure_of_the_model(bench: Any) -> None:
    answers = ["passed", "infrastructure*2", "failed"]
    first = bench.run(answers)
    metric = first.metrics["text_pass@1"]
    assert metric.value is metric.low is metric.high is None, "no value, rather than one over a smaller denominator"
    assert metric.problems == 3
    assert first.counts == {"passed": 1, "infrastructure": 1, "failed": 1}
    assert first.notes == ("problem p1, sample 0: the judge's own fault",)
    bench.run(answers)
    last = bench.run(answers)
    assert last.metrics["text_pass@1"].value == 2 / 3
    assert last.counts == {"passed": 2, "failed": 1}
    assert len(bench.requests) == 3, "nothing was generated again"
    assert bench.judge.judged.count("passed") == 1, "and nothing else was judged again"


def test_raising_n_and_limit_adds_only_what_is_missing(bench: Any) -> None:
    answers = ["passed", "failed", "passed", "passed"]
    bench.run(answers, n=2, limit=2)
    assert [(r.key.problem, r.key.index) for r in bench.requests] == [("p0", 0), ("p0", 1), ("p1", 0), ("p1", 1)]
    bench.requests.clear()
    result = bench.run(answers, n=3, limit=3, metrics=("text_pass@1", "text_pass@3", "text_length"))
    assert [(r.key.problem, r.key.index) for r in bench.requests] == [
        ("p0", 2),
        ("p1", 2),
        ("p2", 0),
        ("p2", 1),
        ("p2", 2),
    ]
    assert result.metrics["text_pass@3"].value == pytest.approx(2 / 3)
    assert result.metrics["text_length"].value == 6.0
    bench.requests.clear()
    smaller = bench.run(answers, n=1, limit=2)
    assert bench.requests == []
    assert (smaller.metrics["text_pass@1"].problems, smaller.metrics["text_pass@1"].samples) == (2, 2)


def test_metrics_come_from_the_files_and_not_from_memory(bench: Any) -> None:
    bench.run(["passed", "failed"])
    file = bench.folder / "verdicts" / "text-v1.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    turned = [{**row, "status": "passed", "passed": True} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in turned))
    assert bench.run(["passed", "failed"]).metrics["text_pass@1"].value == 1.0


def test_a_completion_that_failed_is_told_and_done_at_the_next_try(bench: Any) -> None:
    def engine(requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> Iterator[wmtp.Completion]:
        for request, completion in zip(*_twice(requests, bench.generate, sampling), strict=True):
            if request.key.problem == "p1":
                yield wmtp.Completion(
                    key=request.key, text="", finish_reason="error", tokens=0, seconds=0.0,
                    error="the prompt has 9000 tokens, the context 4096",
                )  # fmt: skip
            else:
                yield completion

    first = bench.run(["passed", "passed"], engine=engine)
    assert first.metrics["text_pass@1"].value is None
    assert first.notes == ("problem p1, sample 0: the prompt has 9000 tokens, the context 4096",)
    assert bench.run(["passed", "passed"]).metrics["text_pass@1"].value == 1.0


def test_an_engine_that_ends_short_without_a_word_is_told_problem_by_problem(bench: Any) -> None:
    def short(requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> Iterator[wmtp.Completion]:
        return (c for c in bench.generate(requests, sampling) if c.key.problem != "p1")

    first = bench.run(["passed", "passed"], n=3, engine=short)
    assert first.metrics["text_pass@1"].value is None
    assert first.notes == ("problem p1: 3 of 3 samples are missing; the engine ended without them",)


def _twice(requests: Iterable[Any], generate: Any, sampling: Any) -> tuple[list[Any], list[Any]]:
    held = list(requests)
    return held, list(generate(held, sampling))


def test_an_engine_that_dies_loses_nothing_of_what_it_gave(bench: Any) -> None:
    def dying(requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> Iterator[wmtp.Completion]:
        for number, completion in enumerate(bench.generate(requests, sampling)):
            if number == 2:
                raise wmtp.GenerationError("out of memory")
            yield completion

    with pytest.raises(wmtp.GenerationError):
        bench.run(["passed"] * 5, engine=dying)
    bench.requests.clear()
    assert bench.run(["passed"] * 5).metrics["text_pass@1"].value == 1.0
    assert [r.key.problem for r in bench.requests] == ["p2", "p3", "p4"]


def test_requests_carry_what_the_engine_needs(bench: Any) -> None:
    bench.run(["passed", "failed"])
    first, second = bench.requests
    assert (first.prompt, first.messages, first.stop, first.reference) == ("plain p0", None, ("END",), "passed")
    assert (first.ordinal, second.ordinal) == (0, 1)


def test_a_chat_prompt_becomes_messages(bench: Any, text_benchmark: Any) -> None:
    turns = [{"role": "user", "content": "hello"}]
    bench.benchmark = type("Chat", (text_benchmark,), {"prompt": lambda self, problem: turns})
    bench.run(["passed"])
    assert (bench.requests[0].prompt, bench.requests[0].messages) == (None, tuple(turns))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("style", "setting style: plain → fancy"),
        ("hard", "setting hard: False → True"),
        ("temperature", "temperature: 0.0 → 0.7"),
        ("stop", "stop: ['END'] → ['HALT']"),
        ("judge", "judge: scripted → newer"),
    ],
)
def test_a_run_made_differently_is_refused_with_what_changed(
    bench: Any, text_settings: Any, text_benchmark: Any, change: str, says: str
) -> None:
    bench.run(["passed"])
    before = {p: p.read_bytes() for p in bench.folder.rglob("*.jsonl")}
    settings = None
    if change in ("style", "hard"):
        settings = text_settings(style="fancy") if change == "style" else text_settings(hard=True)
    elif change == "temperature":
        bench.temperature = 0.7
    elif change == "stop":
        bench.benchmark = type("Other", (text_benchmark,), {"stop": ("HALT",)})
    else:
        bench.judge.identity = {"judge": "newer"}
    with pytest.raises(wmtp.ConfigError) as refused:
        bench.run(["passed"], settings=settings)
    assert says in str(refused.value)
    assert "--fresh" in str(refused.value)
    assert {p: p.read_bytes() for p in bench.folder.rglob("*.jsonl")} == before


def test_data_that_changed_is_refused(bench: Any) -> None:
    bench.run(["passed", "failed"])
    with pytest.raises(wmtp.ConfigError, match="data row of problem p1 changed"):
        bench.run(["passed", "passed"])


def test_what_made_no_line_yet_binds_nobody(bench: Any) -> None:
    """A first try that ended before its first sample can be mended without --fresh."""

    def none(requests: Any, sampling: Any) -> Iterator[wmtp.Completion]:
        raise wmtp.GenerationError("no memory")

    with pytest.raises(wmtp.GenerationError):
        bench.run(["passed"], engine=none)
    bench.temperature = 0.7
    assert bench.run(["passed"]).metrics["text_pass@1"].value == 1.0


def test_problems_must_be_there_and_unique(bench: Any, text_benchmark: Any) -> None:
    with pytest.raises(wmtp.ConfigError, match="no problems in split 'test'"):
        bench.run([])
    twice = lambda self, rows: iter([wmtp.Problem(id="p0", row=row) for row in rows])  # noqa: E731
    bench.benchmark = type("Twice", (text_benchmark,), {"problems": twice})
    with pytest.raises(wmtp.ConfigError, match="problem p0 is in the data twice"):
        bench.run(["a", "b"])


def test_a_metric_that_score_forgets_is_told(bench: Any, text_benchmark: Any) -> None:
    bench.benchmark = type("Forgetful", (text_benchmark,), {"score": lambda self, *_: {}})
    with pytest.raises(wmtp.ConfigError, match="score gave no value for text_length"):
        bench.run(["passed"], metrics=("text_length",))


def test_progress_counts_what_is_there_already(bench: Any) -> None:
    bench.run(["passed", "failed"])
    bench.events.clear()
    bench.run(["passed", "failed", "passed"])
    assert bench.events[0] == ProgressTotals(evaluator="text-v1", total=3, samples=2, verdicts=2)
    assert [type(event) for event in bench.events[1:]] == [SampleGenerated]


def test_text_that_is_no_unicode_survives(bench: Any) -> None:
    """A model may end in half a surrogate pair; line separators of other sorts are no ends of lines."""
    bench.answer = lambda request: "passed*\ud83d\u2028\x85\r\n\x00"
    bench.judge.submit = _passes
    assert bench.run(["x", "y"]).metrics["text_pass@1"].value == 1.0
    assert bench.run(["x", "y"]).metrics["text_pass@1"].value == 1.0
    assert len(bench.requests) == 2


def _passes(code: str, tests: Any) -> Any:
    from concurrent.futures import Future

    future: Future[wmtp.Outcome] = Future()
    future.set_result(wmtp.Outcome(status="passed"))
    return future


class Waiting:
    """Judges nothing until it is told to, and then whatever it was given."""

    def __init__(self, judge: Any) -> None:
        self.identity, self.level, self.notes = judge.identity, judge.level, judge.notes
        self._judge, self.go_on = judge, threading.Event()
        self.gave_way: list[tuple[bool, int]] = []

    def submit(self, code: str, tests: Any) -> Any:
        assert self.go_on.wait(60)
        return self._judge.submit(code, tests)

    def give_way(self, now: bool) -> None:
        self.gave_way.append((now, len(self._judge.judged)))

    def close(self) -> None: ...


def test_asking_waits_for_no_judging_and_what_waits_is_on_disk(bench: Any) -> None:
    scripted = bench.judge
    bench.judge = waiting = Waiting(scripted)
    answers = [("passed", "failed", "", "error")[i % 4] for i in range(40)]

    def engine(requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> Iterator[wmtp.Completion]:
        yield from bench.generate(requests, sampling)
        written = (bench.folder / "samples" / "text-v1.jsonl").read_bytes()
        assert written.count(b"\n") == 400, "all were asked for and stored before the first was judged"
        waiting.go_on.set()

    result = bench.run(answers, n=10, engine=engine)
    assert result.counts == {"passed": 100, "failed": 100, "no-code": 100, "error": 100}
    assert result.metrics["text_pass@1"].value == 1 / 4
    assert [now for now, _ in waiting.gave_way] == [True, False]
    assert waiting.gave_way[0][1] == 0
    keys = [(v["problem"], v["index"]) for v in map(json.loads, bench.folder.joinpath("verdicts/text-v1.jsonl").open())]
    assert len(keys) == len(set(keys)) == 400


def test_an_engine_that_fails_leaves_no_program_waiting(bench: Any) -> None:
    bench.judge = waiting = Waiting(bench.judge)

    def engine(requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> Iterator[wmtp.Completion]:
        yield from itertools.islice(bench.generate(requests, sampling), 300)
        raise wmtp.GenerationError("the server is gone")

    with pytest.raises(wmtp.GenerationError):
        bench.run(["passed"] * 40, n=10, engine=engine)
    assert waiting.gave_way[-1][0] is False
    waiting.go_on.set()
    assert bench.run(["passed"] * 40, n=10).counts == {"passed": 400}
    assert len(bench.requests) == 400, "what was stored is not asked for again"


def test_completions_that_come_together_are_stored_together_and_none_is_lost_to_one_that_fails(bench: Any) -> None:
    class Picky(bench.benchmark):  # type: ignore[misc]
        def code(self, problem: wmtp.Problem, completion: wmtp.Completion) -> str:
            if problem.id == "p5":
                raise ValueError("not this one")
            return completion.text

    def engine(requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling) -> Iterator[wmtp.Completion]:
        def batches() -> Generator[list[wmtp.Completion], None, None]:
            completions = bench.generate(requests, sampling)
            while batch := list(itertools.islice(completions, 4)):
                yield batch

        return kit.InBatches(batches())

    plain, bench.benchmark = bench.benchmark, Picky
    with pytest.raises(wmtp.PluginError):
        bench.run(["passed"] * 10, engine=engine)
    assert [e.sample.key.problem for e in bench.events if isinstance(e, SampleGenerated)] == [f"p{i}" for i in range(5)]
    bench.benchmark = plain
    assert bench.run(["passed"] * 10, engine=engine).counts == {"passed": 10}
    assert [request.key.problem for request in bench.requests][8:] == [f"p{i}" for i in range(5, 10)]


def test_completions_in_batches_are_an_iterator_as_any_other() -> None:
    closed: list[bool] = []

    def batches() -> Generator[list[int], None, None]:
        try:
            yield from ([1, 2, 3], [], [4, 5])
        finally:
            closed.append(True)

    together: Any = kit.InBatches(batches())  # type: ignore[arg-type]
    assert (next(together), next(together)) == (1, 2)
    assert [list(batch) for batch in together.together()] == [[3], [], [4, 5]]
    assert list(kit.InBatches(batches())) == [1, 2, 3, 4, 5]  # type: ignore[arg-type]
    started = kit.InBatches(batches())  # type: ignore[arg-type]
    next(started)
    started.close()
    assert closed == [True] * 3


def test_verdicts_that_come_close_together_are_stored_and_one_that_the_judge_lost_costs_none_of_them(
    bench: Any,
) -> None:
    begun, futures = threading.Event(), []

    def submit(code: str, tests: Any) -> Future[wmtp.Outcome]:
        futures.append(Future())
        if len(futures) == 20:
            begun.set()
        return futures[-1]

    def answer() -> None:
        assert begun.wait(60)
        for future in futures[:-1]:
            future.set_result(wmtp.Outcome(status="passed"))
        futures[-1].set_exception(wmtp.JudgeError("it broke"))

    bench.judge.submit = submit
    answers = threading.Thread(target=answer)
    answers.start()
    with pytest.raises(wmtp.JudgeError, match="it broke"):
        bench.run(["passed"], n=20)
    answers.join()
    assert len((bench.folder / "verdicts" / "text-v1.jsonl").read_text().splitlines()) == 19
