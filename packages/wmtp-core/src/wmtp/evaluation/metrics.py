"""Estimators: unbiased pass@k, and intervals by bootstrap over problems."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import fmean

from wmtp.evaluation.records import MetricValue

RESAMPLES = 2000
SEED = 20240419


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimator 1 − C(n−c, k) / C(n, k) of Chen et al. (arXiv 2107.03374).

    n samples of a problem, c of them right. Raises ValueError where n < k: no estimate exists, and none is guessed.
    """
    if not 0 <= c <= n:
        raise ValueError(f"c must be between 0 and n: n={n}, c={c}")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples a problem, and k of at least 1; there are {n}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % percentile interval of the mean, by resampling problems with a fixed seed.

    Where every problem has the value 1, or every one 0, resampling sees no spread however few they are. The bound is then
    the exact one for a share (Clopper and Pearson): the share for which such an outcome has a chance of 2.5 %.
    """
    if len(set(values)) < 2:
        least = 0.025 ** (1 / len(values))
        return {1.0: (least, 1.0), 0.0: (0.0, 1 - least)}.get(values[0], (values[0], values[0]))
    generator = random.Random(SEED)
    means = sorted(fmean(generator.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[round(0.025 * (RESAMPLES - 1))], means[round(0.975 * (RESAMPLES - 1))]


def summarise(values: Sequence[float] | None, problems: int, samples: int, unit: str = "") -> MetricValue:
    """Mean and interval of per-problem values; all ``None`` where the values are not complete."""
    if not values:
        return MetricValue(None, None, None, problems, samples, unit=unit)
    low, high = interval(values)
    return MetricValue(fmean(values), low, high, problems, samples, unit=unit)
