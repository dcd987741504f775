"""Intervals for the mean over problems. They answer: on new problems like these, where would the mean lie?

Two methods, chosen by simulation (``benchmarks/intervals.py``, decision 0060):

* ``wilson-effective`` for shares, which lie between 0 and 1: pass@k, exact match, a share of tests passed;
* ``bootstrap-t`` for everything else: losses, counts, seconds, differences of such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, overload

import attrs
import numpy as np
from numpy.typing import NDArray

from wmtp.statistics.quantiles import Z95, student_quantile
from wmtp.statistics.rounding import ROUNDING

Array: TypeAlias = NDArray[np.float64]

RESAMPLES = 1999
SEED = 20240419
UNSEEN_SCALE = 4.0  # effective problems on a side from which on unseen ones hardly matter there
# Least Poisson means that 0, 1, 2, 3 events leave possible, 5 % one-sided: half a chi-square quantile with 2x degrees.
POISSON_LEAST = ((0.0, 1.0, 2.0, 3.0), (0.0, 0.05129, 0.35536, 0.81769))


@attrs.frozen(kw_only=True)
class Interval:
    """A 95 % interval. `method` names how it was made. Raises ValueError for a limit that is no finite number."""

    low: float
    high: float
    method: str

    def __attrs_post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"an interval from {self.low} to {self.high} is none")


@overload
def mean_interval(values: Sequence[float] | Array, *, share: Literal[True]) -> Interval: ...


@overload
def mean_interval(values: Sequence[float] | Array, *, share: bool) -> Interval | None: ...


def mean_interval(values: Sequence[float] | Array, *, share: bool) -> Interval | None:
    """Return the 95 % interval of the mean over new problems like these; ``None`` where one value shows no spread.

    A single share has one all the same: it lies between 0 and 1.

    Args:
        values: One finite value a problem; at least one.
        share: True where a value can only lie between 0 and 1.

    Raises:
        ValueError: There are no values, one is not finite, or a share lies outside 0 and 1.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("an interval needs at least one value")
    if not np.isfinite(array).all():
        raise ValueError("an interval needs finite values")
    if share:
        if array.min() < 0 or array.max() > 1:
            raise ValueError(f"shares lie between 0 and 1; these between {array.min():g} and {array.max():g}")
        low, high = share_limits(array.mean(), array.var(), array.size)
        return Interval(low=float(low), high=float(high), method="wilson-effective")
    return bootstrap_t(array)


def share_limits(mean: Any, variance: Any, problems: int) -> tuple[Array, Array]:
    """Return Wilson's limits on an effective number of problems, with room for problems that were not seen.

    A share's variance is at most that of a coin, m(1 − m). Values between 0 and 1 vary less, by a factor r; so they weigh like
    N/r coins, and Wilson's score interval (1927) is taken for that many, as survey statistics does for designs (Korn and
    Graubard 1998; Dean and Pagano 2015). Three things keep it covering where outcomes are rare:

    * Student's quantile as far as the variance is estimated (1 − r), the normal one as far as it follows from the mean;
    * the limit on the side of the rare outcome counts a problem that was not seen and lies at that edge, with a weight that
      fades with r and with the effective number of problems already seen there;
    * where three effective problems or fewer carry an outcome, the other limit is Poisson's (Brown, Cai and DasGupta 2001), and
      where none does the limit is Clopper's and Pearson's.

    Args:
        mean: Mean over problems; an array does as many runs at once.
        variance: Variance over problems with divisor N, of the same shape.
        problems: N, the number of problems of each run.
    """
    mean, variance = np.atleast_1d(np.asarray(mean, dtype=np.float64)), np.atleast_1d(np.asarray(variance, np.float64))
    low, high = 1 - _upper(1 - mean, variance, problems), _upper(mean, variance, problems)
    low = np.minimum(low, _least(mean, variance, problems))
    high = np.maximum(high, 1 - _least(1 - mean, variance, problems))
    certain = 0.025 ** (1 / problems)  # a perfect score: the exact bound (Clopper and Pearson)
    low = np.where(mean >= 1 - 1e-12, certain, low)
    high = np.where(mean <= 1e-12, 1 - certain, high)
    return np.clip(low, 0, 1).squeeze(), np.clip(high, 0, 1).squeeze()


def _ratio(mean: Array, variance: Array) -> Array:
    """How much of a coin's variance there is; 1 where there is no variance, for then nothing is known of it."""
    coin = mean * (1 - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((coin > 0) & (variance > 1e-15), variance / coin, 1.0)
    return np.clip(ratio, 1e-12, 1.0)


def _upper(mean: Array, variance: Array, problems: int) -> Array:
    ratio = _ratio(mean, variance)
    seen = mean * problems / ratio
    weight = (1 - ratio) / (1 + (seen / UNSEEN_SCALE) ** 2)
    total = problems + weight
    shifted = (problems * mean + weight) / total
    spread = (problems * (variance + (mean - shifted) ** 2) + weight * (1 - shifted) ** 2) / total
    count = problems / np.where(ratio < 1, _ratio(shifted, spread), 1.0)
    t = student_quantile(0.975, problems - 1) if problems > 1 else Z95
    z = Z95 + (1 - ratio) * (t - Z95)
    square = z * z
    half = z * np.sqrt(shifted * (1 - shifted) / count + square / (4 * count * count))
    limit: Array = (shifted + square / (2 * count) + half) / (1 + square / count)
    return limit


def _least(mean: Array, variance: Array, problems: int) -> Array:
    """The lower limit where the mean rests on three effective problems or fewer; infinite elsewhere."""
    count = problems / _ratio(mean, variance)
    seen = mean * count
    return np.where(seen <= 3, np.interp(seen, *POISSON_LEAST) / count, np.inf)


def bootstrap_t(values: Array) -> Interval | None:
    """Return the studentised bootstrap interval of a mean (Efron 1979; Hall 1988), with a fixed seed.

    Problems are resampled; each resample's mean is divided by its own standard error, so the interval follows the skew that a
    percentile interval misses. A resample without spread counts as one that lies beyond every other, or, where its mean is the
    observed one, at it. ``None`` of one problem: it shows no spread. Of several that are equal the interval has no width, and
    its method says so.
    """
    problems, mean = values.size, float(values.mean())
    if problems == 1:
        return None
    error = math.sqrt(float(values.var(ddof=1)) / problems)
    rounding = ROUNDING * float(np.abs(values).max())
    if error <= rounding:
        return Interval(low=mean, high=mean, method="no-spread")
    generator = np.random.default_rng(SEED)
    ratios = np.empty(RESAMPLES)
    step = max(1, 2_000_000 // problems)  # at most 16 MB at once
    for start in range(0, RESAMPLES, step):
        drawn = values[generator.integers(0, problems, (min(step, RESAMPLES - start), problems))]
        difference = drawn.mean(axis=1) - mean
        errors = np.sqrt(drawn.var(axis=1, ddof=1) / problems)
        # What is left of a mean or a spread by rounding is none: 0 beside 0 says nothing, and is no quotient.
        beyond = np.where(np.abs(difference) > rounding, np.copysign(np.inf, difference), 0.0)
        ratios[start : start + len(drawn)] = np.divide(difference, errors, out=beyond, where=errors > rounding)
    ratios.sort()
    low, high = ratios[round(0.975 * (RESAMPLES + 1)) - 1], ratios[round(0.025 * (RESAMPLES + 1)) - 1]
    limit = 10 * student_quantile(0.975, problems - 1)  # few problems: a resample without spread says nothing
    return Interval(
        low=mean - error * float(min(low, limit)), high=mean - error * float(max(high, -limit)), method="bootstrap-t"
    )
