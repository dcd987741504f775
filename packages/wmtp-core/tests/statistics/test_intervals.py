"""Intervals of one run: quantiles against scipy, coverage in the places where the bootstrap failed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from wmtp.statistics.intervals import Interval, bootstrap_t, mean_interval, share_limits
from wmtp.statistics.quantiles import student_quantile


@pytest.mark.parametrize(("df", "relative"), [(1, 1e-9), (2, 1e-9), (3, 4e-3), (5, 3e-4), (10, 1e-5), (163, 1e-9)])
def test_students_quantiles_equal_scipys(df: int, relative: float) -> None:
    assert student_quantile(0.975, df) == pytest.approx(stats.t.ppf(0.975, df), rel=relative)


def test_coin_flips_have_wilsons_interval() -> None:
    low, high = share_limits(np.array(50 / 164), np.array(50 / 164 * 114 / 164), 164)
    peer = stats.binomtest(50, 164).proportion_ci(0.95, method="wilson")
    assert (float(low), float(high)) == (pytest.approx(peer.low), pytest.approx(peer.high))


@pytest.mark.parametrize(
    ("problems", "alpha", "beta", "n", "k"),
    [(24, 0.25, 4, 10, 1), (164, 0.25, 4, 10, 1), (500, 0.2, 0.2, 10, 1), (500, 4, 0.25, 10, 5), (24, 1, 1, 20, 10)],
)
def test_the_interval_covers_where_the_bootstrap_did_not(
    problems: int, alpha: float, beta: float, n: int, k: int
) -> None:
    generator = np.random.default_rng(7)
    table = np.array([1 - math.comb(n - c, k) / math.comb(n, k) for c in range(n + 1)])
    truth = float((1 - (1 - generator.beta(alpha, beta, 2_000_000)) ** k).mean())
    values = table[generator.binomial(n, generator.beta(alpha, beta, (2000, problems)))]
    low, high = share_limits(values.mean(1), values.var(1), problems)
    covered = ((low <= truth) & (truth <= high)).mean()
    assert 0.93 - 0.012 <= covered <= 0.98 + 0.007  # two standard errors of 2,000 runs


def test_the_studentised_bootstrap_follows_skew() -> None:
    values = np.random.default_rng(1).lognormal(0, 0.8, 60)
    found = bootstrap_t(values)
    assert found is not None
    assert found.high - values.mean() > 1.1 * (values.mean() - found.low)
    assert found == bootstrap_t(values)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [0.5, math.inf], [0.5, 1.5]])
def test_values_that_have_no_interval_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError):
        mean_interval(values, share=True)


@pytest.mark.parametrize(
    "values", [[5, 5, 5, 5, 4, 6], [2] * 10 + [1, 3], [0.1] * 6 + [0.3, -0.1], [1e9 + 0.1] * 6 + [1e9, 1e9 + 0.2]]
)
def test_a_resample_whose_values_are_all_the_mean_leaves_limits_that_are_numbers(values: list[float]) -> None:
    found, mean = bootstrap_t(np.array(values, dtype=np.float64)), float(np.mean(values))
    assert found is not None
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
    assert found.low < mean < found.high
    assert mean - found.low == pytest.approx(found.high - mean, rel=0.3)  # the values lie evenly about their mean


@pytest.mark.parametrize(("low", "high"), [(math.nan, 1.0), (0.0, math.nan), (-math.inf, 0.0), (0.0, math.inf)])
def test_an_interval_has_finite_limits(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="is none"):
        Interval(low=low, high=high, method="bootstrap-t")
