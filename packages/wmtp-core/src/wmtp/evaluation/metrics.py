"""Estimators: unbiased pass@k, and intervals by bootstrap over problems."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import NormalDist, fmean

from wmtp.contracts.evaluation import MetricValue

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

    Where all problems have the same value, resampling sees no spread however few they are. For shares the interval is then
    that of as many problems passed or failed: at 0 and 1 the exact one (Clopper and Pearson), between them Wilson's. Other
    values have no width to give: (value, value).
    """
    if len(set(values)) < 2:
        return _without_spread(values[0], len(values))
    generator = random.Random(SEED)
    means = sorted(fmean(generator.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[round(0.025 * (RESAMPLES - 1))], means[round(0.975 * (RESAMPLES - 1))]


def _without_spread(value: float, problems: int) -> tuple[float, float]:
    if value in (0.0, 1.0):
        least = 0.025 ** (1 / problems)
        return (least, 1.0) if value else (0.0, 1 - least)
    if not 0 < value < 1:
        return value, value
    z = NormalDist().inv_cdf(0.975)
    scale = 1 + z * z / problems
    middle = (value + z * z / (2 * problems)) / scale
    half = z / scale * math.sqrt(value * (1 - value) / problems + z * z / (4 * problems * problems))
    return max(0.0, middle - half), min(1.0, middle + half)


def summarise(values: Sequence[float] | None, problems: int, samples: int, unit: str = "") -> MetricValue:
    """Mean and interval of per-problem values; all ``None`` where the values are not complete."""
    if not values:
        return MetricValue(None, None, None, problems, samples, unit=unit)
    low, high = interval(values)
    return MetricValue(fmean(values), low, high, problems, samples, unit=unit)
