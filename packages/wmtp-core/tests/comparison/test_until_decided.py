"""`eval.against`: sampling stops once it stands which run is better, or that it matters little."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.evaluation.until_decided import BATCH, UntilDecided

Key = tuple[str, int]
JUDGE = {"time limit": 10.0, "version": "3"}
PROMPT = {"split": "test", "stop": []}


def outcomes(rate: float, seed: int, problems: int = 400, n: int = 8) -> dict[str, list[bool]]:
    dice = random.Random(seed)
    return {f"t/{i:03}": [dice.random() < rate for _ in range(n)] for i in range(problems)}


def sample(stopping: UntilDecided, own: Mapping[str, list[bool]], there: Mapping[Key, bool] = {}) -> list[Key]:
    """Does what a benchmark does, from the outcomes that are `there`; returns every key of every batch."""
    passed: dict[Key, bool] = dict(there)
    wanted: list[Key] = []
    for batch in stopping.batches(
        rows=dict.fromkeys(own, "r" * 16), prompts=dict.fromkeys(own, "p" * 64), passed=passed
    ):
        wanted += batch
        passed |= {(problem, index): own[problem][index] for problem, index in batch}
    return wanted


@pytest.fixture
def stopping(make_run: Callable[..., Path]) -> Callable[..., UntilDecided]:
    """stopping(baseline's outcomes, keywords of UntilDecided): a run folder beside it that has keys and no samples."""

    def make(base: Mapping[str, list[bool]], *, judge: Mapping[str, Any] = JUDGE, **options: Any) -> UntilDecided:
        own = make_run("own", {"t/000": [True]}, judge=judge)
        against = make_run("base", base)
        usual: dict[str, Any] = {"folder": own, "against": against, "difference": 0.1, "first": 1, "most": 8}
        return UntilDecided("toy-v1", **{**usual, **options})

    return make


@pytest.mark.parametrize(
    ("rate", "words"), [(0.7, "better than base"), (0.1, "worse than base"), (0.4, "equivalent to base within 0.1")]
)
def test_sampling_stops_once_the_answer_stands(stopping: Callable[..., UntilDecided], rate: float, words: str) -> None:
    found = stopping(outcomes(0.4, 1))
    wanted = sample(found, outcomes(rate, 2))
    assert found.note.startswith(words)
    assert len(wanted) == len(set(wanted)) < 400 * 4


def test_it_looks_within_a_round_and_never_leaves_a_gap(stopping: Callable[..., UntilDecided]) -> None:
    found = stopping(outcomes(0.5, 1), difference=0.05)
    wanted = sample(found, outcomes(0.58, 2))
    assert found.note.startswith("better than base")
    assert len(wanted) % 400, "this seed's answer stands in the middle of a round"
    assert len(wanted) % 400 % BATCH == 0
    for problem in {p for p, _ in wanted}:
        indices = sorted(i for p, i in wanted if p == problem)
        assert indices == list(range(len(indices)))


def test_every_problem_gets_what_the_metrics_need_first(stopping: Callable[..., UntilDecided]) -> None:
    found = stopping(outcomes(0.1, 1, problems=100), first=5)
    wanted = sample(found, outcomes(0.9, 2, problems=100))
    assert len(wanted) == 500
    assert found.note.startswith("better than base")


def test_a_run_that_goes_on_comes_to_the_same_end(stopping: Callable[..., UntilDecided]) -> None:
    base, own = outcomes(0.5, 1), outcomes(0.58, 2)
    first = stopping(base, difference=0.05)
    wanted = sample(first, own)
    dice = random.Random(3)
    there = {key: own[key[0]][key[1]] for key in dice.sample(wanted, len(wanted) // 2)}
    again = UntilDecided(
        "toy-v1", folder=first._folder, against=first._folder.parent / "base", difference=0.05, first=1, most=8
    )
    assert sample(again, own, there) == wanted
    assert again.note == first.note


def test_a_sample_without_an_outcome_is_no_pair_and_its_round_finds_nothing_equivalent(
    stopping: Callable[..., UntilDecided],
) -> None:
    base = outcomes(0.4, 1)
    found = stopping({**base, "t/007": [True]})
    wanted = sample(found, outcomes(0.4, 2))
    assert found.note.startswith("undecided against base")
    assert found.bet is not None
    assert found.bet.pairs == len(wanted) - 7


def test_another_benchmark_or_judge_is_refused_before_the_first_sample(stopping: Callable[..., UntilDecided]) -> None:
    found = stopping(outcomes(0.4, 1), judge={**JUDGE, "time limit": 1})
    with pytest.raises(wmtp.ConfigError, match="judge time limit") as told:
        sample(found, outcomes(0.4, 2))
    assert "--despite" not in str(told.value), "`wmtp eval` has no such option"


def test_other_problems_are_refused_before_the_first_sample(stopping: Callable[..., UntilDecided]) -> None:
    found = stopping(outcomes(0.4, 1))
    with pytest.raises(wmtp.ConfigError, match="400 problems, 1 of its own"):
        sample(found, outcomes(0.4, 2, problems=399))


def test_a_run_is_not_measured_against_itself_nor_against_one_without_its_evaluator(
    make_run: Callable[..., Path],
) -> None:
    run, other = make_run("own", outcomes(0.4, 1)), make_run("base", outcomes(0.4, 1))
    options: dict[str, Any] = {"difference": 0.1, "first": 1, "most": 8}
    with pytest.raises(wmtp.ConfigError, match="this run itself"):
        UntilDecided("toy-v1", folder=run, against=run, **options)
    with pytest.raises(wmtp.ConfigError, match="no judged samples of far-v1"):
        UntilDecided("far-v1", folder=run, against=other, **options)


@pytest.mark.parametrize(("most", "first", "expected"), [(None, 1, 8), (3, 1, 3), (100, 1, 8), (2, 5, 5)])
def test_no_more_samples_are_drawn_than_the_run_to_beat_has(
    stopping: Callable[..., UntilDecided], most: int | None, first: int, expected: int
) -> None:
    assert stopping(outcomes(0.4, 1), most=most, first=first).most == expected
