"""Estimators: unbiased pass@k, and a metric's mean with its interval over problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from wmtp.contracts.evaluation import MetricValue

if TYPE_CHECKING:
    from wmtp.statistics.intervals import Interval


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimator 1 − C(n−c, k) / C(n, k) of Chen et al. (arXiv 2107.03374).

    n samples of a problem, c of them right. Raises ValueError where n < k: no estimate exists, and none is guessed.
    """
    if not 0 <= c <= n:
        raise ValueError(f"c must be between 0 and n: n={n}, c={c}")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples a problem, and k of at least 1; there are {n}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def interval(values: Sequence[float], unit: str = "") -> Interval:
    """Return the 95 % interval of the mean over new problems like these, and the method it was made by.

    Values without a unit that lie between 0 and 1 are shares; all others are not (`wmtp.statistics.intervals`).
    """
    from wmtp.statistics.intervals import mean_interval

    return mean_interval(values, share=not unit and min(values) >= 0 and max(values) <= 1)


def summarise(values: Sequence[float] | None, problems: int, samples: int, unit: str = "") -> MetricValue:
    """Mean and interval of per-problem values; all ``None`` where the values are not complete."""
    if not values:
        return MetricValue(value=None, low=None, high=None, problems=problems, samples=samples, unit=unit)
    found = interval(values, unit)
    return MetricValue(
        value=fmean(values),
        low=found.low,
        high=found.high,
        problems=problems,
        samples=samples,
        unit=unit,
        method=found.method,
    )
