"""Deciding while sampling goes on: false decisions stay rare at every time of looking, and samples are saved."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmtp.statistics.sequential import SequentialComparison


def pairs_until(generator: np.random.Generator, p: np.ndarray, q: np.ndarray, rounds: int) -> tuple[str, int]:
    """The decision and the pairs until then, looked at behind every 50 pairs."""
    bet = SequentialComparison(difference=0.05)
    for _ in range(rounds):
        for a, b in zip(generator.random(len(p)) < p, generator.random(len(p)) < q, strict=True):
            bet.add(bool(a), bool(b))
            if bet.pairs % 50 == 0 and bet.look():
                return bet.decision, bet.pairs
    return bet.look(), bet.pairs


@pytest.mark.parametrize("runs", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_false_decisions_stay_below_their_level_over_all_times(runs: int) -> None:
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(runs):
        p, bet = generator.random(100), SequentialComparison(difference=0.05)
        for a, b in generator.random((3000, 2)) < np.tile(p, 30)[:, None]:
            bet.add(bool(a), bool(b))
            if bet.look():
                wrong += 1
                break
    assert wrong <= runs * 0.05 + 2 * (runs * 0.05 * 0.95) ** 0.5


def test_a_difference_is_found_with_fewer_samples_than_a_fixed_design_of_equal_power() -> None:
    generator = np.random.default_rng(4)
    used, found = [], 0
    for _ in range(80):
        p = generator.random(500) * 0.9
        decision, pairs = pairs_until(generator, p, p + 0.05, 12)
        found += decision == "better"
        used.append(pairs)
    p = generator.random(100_000) * 0.9
    variance = float((p * (1 - p) + (p + 0.05) * (0.95 - p)).mean())
    power = min(0.99, found / 80)
    fixed = (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)) ** 2 * variance / 0.05**2
    assert np.mean(used) <= 0.6 * fixed


@given(st.lists(st.booleans(), max_size=12))
def test_the_wealth_is_fair(start: list[bool]) -> None:
    """Whatever was seen, the wealth after one more pair that differs is on average what it was."""

    def wealth(wins: list[bool]) -> float:
        bet = SequentialComparison(difference=0.02)
        for win in wins:
            bet.add(not win, win)
        return bet.e_value

    assert (wealth([*start, True]) + wealth([*start, False])) / 2 == pytest.approx(wealth(start))


def until_equivalent(generator: np.random.Generator, p: np.ndarray, q: np.ndarray, rounds: int) -> str:
    bet = SequentialComparison(difference=0.1)
    for _ in range(rounds):
        for a, b in zip(generator.random(len(p)) < p, generator.random(len(p)) < q, strict=True):
            bet.add(bool(a), bool(b))
        bet.end_round()
        if bet.look():
            break
    return bet.decision


def test_runs_that_are_alike_are_found_equivalent_and_those_that_differ_by_so_much_rarely_are() -> None:
    """The gain lies on half of the problems alone: a problem's own mean is not the difference of the runs."""
    generator = np.random.default_rng(5)
    p = np.full(100, 0.4)
    q = np.where(np.arange(100) < 50, 0.6, 0.4)
    alike = [until_equivalent(generator, p, p, 30) for _ in range(100)]
    assert alike.count("equivalent") >= 90
    apart = [until_equivalent(generator, p, q, 30) for _ in range(400)]
    assert apart.count("equivalent") <= 400 * 0.05 + 2 * (400 * 0.05 * 0.95) ** 0.5
    assert apart.count("better") >= 350


def test_a_round_in_which_a_problem_has_no_pair_says_nothing_of_equivalence() -> None:
    bet = SequentialComparison(difference=0.5)
    for _ in range(50):
        for _ in range(20):
            bet.add(True, True)
        bet.skip_round()
    assert (bet.look(), bet.equivalence_e_value) == ("", 1.0)
    for _ in range(20):
        bet.add(True, True)
    bet.end_round()
    assert bet.look() == "equivalent"


def test_a_decision_stays_when_later_pairs_say_otherwise() -> None:
    bet = SequentialComparison(difference=0.3)
    for won in [True] * 30 + [False] * 200:
        bet.add(not won, won)
        bet.look()
    assert bet.decision == "better"
    assert bet.lost == 200


@pytest.mark.parametrize("difference", [0, 1, -0.1])
def test_an_impossible_difference_is_refused(difference: float) -> None:
    with pytest.raises(ValueError, match="to below 1: it is a difference of shares"):
        SequentialComparison(difference=difference)
