"""Problems that are counted while others are judged are counted as they would be at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmtp.contracts.engines import SampleKey
from wmtp.contracts.evaluation import Problem, Sample, Verdict
from wmtp.contracts.judging import Outcome
from wmtp.evaluation.counting import Counting

NAMES = ("a", "b", "c", "d")


class Added:
    """In place of a tally: what was added to it, and whether it may be."""

    def __init__(self, fails: Callable[[str], bool]) -> None:
        self.fails = fails
        self.seen: list[tuple[str, list[int], list[int]]] = []

    def add(self, problem: Problem, samples: list[Sample], verdicts: list[Verdict]) -> None:
        self.seen.append((problem.id, [s.key.index for s in samples], [v.key.index for v in verdicts]))
        if self.fails(problem.id):
            raise ValueError(f"the score of {problem.id}")

    def result(self) -> list[tuple[str, list[int], list[int]]]:
        return self.seen


def sample(problem: str, index: int) -> Sample:
    key = SampleKey(evaluator="e", problem=problem, index=index)
    return Sample(
        key=key, completion="", code="", finish_reason="stop", tokens=0, seconds=0.0, prompt_sha256="", generation_key="",
        extra={},
    )  # fmt: skip


def verdict(problem: str, index: int) -> Verdict:
    key = SampleKey(evaluator="e", problem=problem, index=index)
    return Verdict(key=key, code_sha256="", outcome=Outcome(status="passed"), judge_key="")


class Run:
    """Samples of four problems, of which verdicts come one by one."""

    def __init__(self, fails: Callable[[str], bool] = lambda problem: False) -> None:
        self.verdicts: dict[str, list[Verdict]] = {name: [] for name in NAMES}
        self.samples = {name: [sample(name, index) for index in range(3)] for name in NAMES}
        problems = {name: Problem(id=name, row={}) for name in NAMES}
        tally: Any = lambda: Added(fails)  # noqa: E731
        self.counting = Counting(tally, problems, self.stored, lambda one: one.key.index < 2)

    def stored(self) -> Iterator[tuple[str, list[Sample], list[Verdict]]]:
        for name in NAMES:
            yield name, self.samples[name], self.verdicts[name]

    def through(self, problem: str) -> bool:
        return len(self.verdicts[problem]) == 3


ALL = [(name, [0, 1], [0, 1]) for name in NAMES]


@given(st.permutations([(name, index) for name in NAMES for index in range(3)]), st.integers(1, 12))
def test_in_whatever_order_verdicts_come(order: list[tuple[str, int]], between: int) -> None:
    run = Run()
    for number, (problem, index) in enumerate(order):
        run.verdicts[problem].append(verdict(problem, index))
        run.verdicts[problem].sort(key=lambda one: one.key.index)
        if number % between == 0:
            run.counting.ahead(run.through)
    assert run.counting.result() == ALL


def test_the_next_one_is_waited_for() -> None:
    run = Run()
    run.verdicts["b"] = [verdict("b", index) for index in range(3)]
    run.counting.ahead(run.through)
    assert run.counting._tally.seen == []
    run.verdicts["a"] = [verdict("a", index) for index in range(3)]
    run.counting.ahead(run.through)
    assert [problem for problem, *_ in run.counting._tally.seen] == ["a", "b"]


def test_what_fails_ahead_fails_at_the_end_and_not_before() -> None:
    run = Run(lambda problem: problem == "b")
    for name in NAMES:
        run.verdicts[name] = [verdict(name, index) for index in range(3)]
        run.counting.ahead(run.through)
    with pytest.raises(ValueError, match="the score of b"):
        run.counting.result()


def test_what_failed_ahead_may_be_mended_by_then() -> None:
    broken = ["b"]
    run = Run(lambda problem: problem in broken)
    for name in NAMES:
        run.verdicts[name] = [verdict(name, index) for index in range(3)]
        run.counting.ahead(run.through)
    broken.clear()
    assert run.counting.result() == ALL
