"""Null distributions of a sum over problems: exact by convolution on a lattice, else by drawing.

Under "the two runs are alike" some exchange within each problem changes nothing: any samples between the runs, the two runs'
samples of one index, or the two values of the problem. Problems are independent, so the sum's distribution is the convolution
of theirs, taken as a product of Fourier transforms. That is exact up to rounding, `ROUNDING` in a probability and no p-value
is said to be smaller. Where every problem has the same two ways the sum is binomial, and its tails are added up by themselves.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Outcomes: TypeAlias = tuple[tuple[int, ...], tuple[float, ...]]
"""Whole numbers that a problem's difference can be, and their probabilities."""

DRAWS = 40_000
SEED = 20261128
MOST_POINTS = 1 << 19
SPREADS = 60  # standard deviations that a lattice shorter than the sum's range holds; beyond lies less than rounding
MOST_DENOMINATOR = 5040
MOST_COINS = 20_000  # of which the ways are counted in whole numbers
TINY = sys.float_info.min
ROUNDING = sys.float_info.epsilon  # of a tail from a convolution, a point of the lattice and problem


@attrs.frozen(kw_only=True)
class Tails:
    """Where an observed sum lies in its null distribution.

    Attributes:
        less: P(T < observed). equal: P(T = observed). greater: P(T > observed).
        draws: How many draws the probabilities rest on; 0 where they are exact.
        rounding: The error of each that rounding leaves.
    """

    less: float
    equal: float
    greater: float
    draws: int = 0
    rounding: float = 0.0

    @property
    def p_value(self) -> float:
        """Two-sided mid-p: twice the smaller tail, which counts half of what equals the observation; at most 1.

        What rounding hides is not told: no p-value is below its `error` from rounding, nor 0.
        """
        return min(1.0, max(2 * (min(self.less, self.greater) + self.equal / 2), 2 * self.rounding, TINY))

    @property
    def error(self) -> float:
        """Standard error of `p_value` from drawing, or what rounding leaves; 0 where it is exact."""
        half = self.p_value / 2
        return 2 * math.sqrt(half * (1 - half) / self.draws) if self.draws else 2 * self.rounding


@functools.lru_cache(maxsize=4096)
def moved_between_runs(
    n_a: int, n_b: int, passed: int, values_a: tuple[int, ...], values_b: tuple[int, ...]
) -> Outcomes:
    """Return how b's value less a's falls out when `passed` passes are dealt at random to n_a + n_b samples.

    Args:
        n_a, n_b: Samples of the problem in each run.
        passed: Passes in both runs together.
        values_a, values_b: A run's value for 0, 1, … n passes, in whole numbers of one unit.
    """
    total = math.comb(n_a + n_b, passed)
    found: dict[int, int] = {}
    for in_b in range(max(0, passed - n_a), min(n_b, passed) + 1):
        value = values_b[in_b] - values_a[passed - in_b]
        found[value] = found.get(value, 0) + math.comb(n_b, in_b) * math.comb(n_a, passed - in_b)
    return tuple(found), tuple(ways / total for ways in found.values())


@functools.lru_cache(maxsize=4096)
def swapped_by_index(both: int, discordant: int, values: tuple[int, ...]) -> Outcomes:
    """Return how b's value less a's falls out when each index's two samples change runs at random.

    Args:
        both: Indices where both samples passed. discordant: Indices where one of the two did.
        values: A run's value for 0, 1, … n passes, in whole numbers of one unit.
    """
    found: dict[int, int] = {}
    for in_b in range(discordant + 1):
        value = values[both + in_b] - values[both + discordant - in_b]
        found[value] = found.get(value, 0) + math.comb(discordant, in_b)
    return tuple(found), tuple(ways / 2**discordant for ways in found.values())


def tails(groups: Mapping[Outcomes, int], observed: int) -> Tails:
    """Return where `observed` lies in the distribution of the sum over problems.

    Args:
        groups: Outcomes → how many problems have them.
        observed: The sum that was seen, in the outcomes' unit.
    """
    moving = {outcomes: count for outcomes, count in groups.items() if len(outcomes[0]) > 1}
    fixed = sum(outcomes[0][0] * count for outcomes, count in groups.items() if len(outcomes[0]) == 1)
    observed -= fixed
    if not moving:
        return Tails(less=float(observed > 0), equal=float(observed == 0), greater=float(observed < 0))
    if (coins := _coins(moving, observed)) is not None:
        return binomial_tails(*coins)
    start = sum(min(values) * count for (values, _), count in moving.items())
    # The common unit of pass@k of many numbers of samples is so small that whole numbers of it are too large for floats.
    unit = functools.reduce(math.gcd, (v - min(values) for values, _ in moving for v in values))
    reach = sum((max(values) - min(values)) * count for (values, _), count in moving.items())
    span = reach // unit
    mean, variance = _moments(moving, reach)
    needed = min(span + 1, math.ceil(Fraction(SPREADS * math.sqrt(variance)) * span) + 2)
    points = 1 << max(1, needed.bit_length())
    if points > MOST_POINTS:
        return _drawn(moving, observed - start, reach)
    middle = round(Fraction(mean) * span)
    return _convolved(moving, observed - start, unit, points, wrapped=points <= span, middle=middle)


def _coins(groups: Mapping[Outcomes, int], observed: int) -> tuple[int, int] | None:
    """Problems, and those at the larger of two values that are equally likely; ``None`` where the problems are not alike."""
    gaps = {abs(values[-1] - values[0]) if shares == (0.5, 0.5) else 0 for values, shares in groups}
    if len(gaps) != 1 or gaps == {0}:
        return None
    start = sum(min(values) * count for (values, _), count in groups.items())
    return sum(groups.values()), (observed - start) // gaps.pop()


def binomial_tails(coins: int, heads: int) -> Tails:
    """Return where `heads` lie among so many fair coins: terms are added up from the observation outwards, so none is lost."""
    if coins <= MOST_COINS:
        equal, rounding = math.comb(coins, heads) / (1 << coins), 0.0
    else:
        logs = [math.lgamma(count + 1) for count in (coins, heads, coins - heads)]
        equal = math.exp(logs[0] - logs[1] - logs[2] - coins * math.log(2))
        rounding = equal * logs[0] * ROUNDING

    def below(count: int) -> float:
        """The terms below `count`, in units of its own."""
        total, term = 0.0, 1.0
        for place in range(count, 0, -1):
            term *= place / (coins - place + 1)
            total += term
            if term < 1e-18 * total:
                break
        return total

    fewer = min(heads, coins - heads)
    small = equal * below(fewer) if 2 * fewer < coins else (1 - equal) / 2
    large = max(0.0, 1 - equal - small)
    less, greater = (small, large) if heads == fewer else (large, small)
    return Tails(less=less, equal=equal, greater=greater, rounding=rounding)


def _moments(groups: Mapping[Outcomes, int], scale: int) -> tuple[float, float]:
    """Mean and variance of the sum above its least value, both in units of `scale`."""
    mean = variance = 0.0
    for (values, shares), count in groups.items():
        least = min(values)
        scaled = [(v - least) / scale for v in values]
        here = sum(v * p for v, p in zip(scaled, shares, strict=True))
        mean += count * here
        variance += count * sum(p * (v - here) ** 2 for v, p in zip(scaled, shares, strict=True))
    return mean, variance


@functools.lru_cache(maxsize=512)
def _transform(outcomes: Outcomes, unit: int, points: int) -> NDArray[np.complex128]:
    values, shares = outcomes
    least = min(values)
    density = np.zeros(points)
    for value, share in zip(values, shares, strict=True):
        density[(value - least) // unit % points] += share
    return np.fft.rfft(density)


def _convolved(
    groups: Mapping[Outcomes, int], observed: int, unit: int, points: int, *, wrapped: bool, middle: int
) -> Tails:
    """The sum's distribution on a circle of `points`; where it is `wrapped`, cut open opposite its middle."""
    product = np.ones(points // 2 + 1, dtype=np.complex128)
    for outcomes, count in groups.items():
        product *= _transform(outcomes, unit, points) ** count
    density = np.clip(np.fft.irfft(product, points), 0, None)
    density /= density.sum()
    rounding = ROUNDING * (points + sum(groups.values()))
    place = observed // unit
    first = middle - points // 2 if wrapped else 0
    if wrapped:
        density = np.roll(density, -(first % points))
    place -= first
    if place < 0 or place >= points:
        return Tails(less=float(place >= points), equal=0.0, greater=float(place < 0), rounding=rounding)
    equal = float(density[place])
    less = float(density[:place].sum())
    greater = max(0.0, float(density[place:].sum()) - equal)
    return Tails(less=less, equal=equal, greater=greater, rounding=rounding)


def _drawn(groups: Mapping[Outcomes, int], observed: int, scale: int) -> Tails:
    """Draw sums in units of `scale`, which is how far the sum reaches. observed: above the least sum.

    Half of them are drawn with the runs in the other order, so that which run is the first one changes no p-value.
    """
    mirrored = [((tuple(-v for v in reversed(values)), shares[::-1]), n) for (values, shares), n in groups.items()]
    here, there = _sums([*groups.items()], scale), _sums(mirrored, scale)
    tolerance = max(1 / (2 * scale), 1e-12 * max(float(here.max()), float(there.max())))
    other = _counted(there, (scale - observed) / scale, tolerance)
    return _both_ways(_counted(here, observed / scale, tolerance), other, DRAWS)


def _both_ways(one: Tails, other: Tails, draws: int) -> Tails:
    """The mean of a run's tails and, mirrored, of those with the runs in the other order."""
    less, equal, greater = (one.less + other.greater) / 2, (one.equal + other.equal) / 2, (one.greater + other.less) / 2
    return Tails(less=less, equal=equal, greater=greater, draws=draws)


def _sums(groups: Sequence[tuple[Outcomes, int]], scale: int) -> Floats:
    draws = DRAWS // 2
    generator = np.random.default_rng(SEED)
    sums = np.zeros(draws)
    for (values, shares), count in groups:
        least = min(values)
        steps, numbers = np.cumsum(shares)[:-1].astype(np.float32), np.array([(v - least) / scale for v in values])
        block = max(1, 4_000_000 // count)
        for start in range(0, draws, block):
            uniform = generator.random((min(block, draws - start), count), dtype=np.float32)
            sums[start : start + len(uniform)] += numbers[np.searchsorted(steps, uniform, side="right")].sum(axis=1)
    return sums


def _counted(sums: Floats, observed: float, tolerance: float) -> Tails:
    """Shares of draws; the observation counts as one draw more, so that no probability is zero."""
    total = len(sums) + 1
    equal = int((np.abs(sums - observed) <= tolerance).sum()) + 1
    less = int((sums < observed - tolerance).sum())
    return Tails(less=less / total, equal=equal / total, greater=(total - equal - less) / total, draws=len(sums))


def sign_flips(differences: Sequence[float] | Floats) -> Tails:
    """Return where the sum of differences lies when each may have either sign (the paired permutation test).

    Exact where the differences are fractions with one denominator of at most 5040 (tenths are added as whole numbers, so no
    tie is lost to rounding) or few; else drawn.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    whole = _whole(values)
    if whole is not None:
        groups: dict[Outcomes, int] = {}
        for value in whole:
            outcomes: Outcomes = ((-abs(value), abs(value)), (0.5, 0.5))
            groups[outcomes] = groups.get(outcomes, 0) + 1
        return tails(groups, sum(whole))
    values = values / np.abs(values).max()  # the smallest ones would be 0 in the precision that is drawn in
    sizes = np.abs(values)
    observed, tolerance = float(values.sum()), 1e-9 * float(sizes.sum())
    if len(sizes) <= 15:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums - size, sums + size])
        total = len(sums)
        equal, less = int((np.abs(sums - observed) <= tolerance).sum()), int((sums < observed - tolerance).sum())
        return Tails(less=less / total, equal=equal / total, greater=(total - equal - less) / total)
    generator = np.random.default_rng(SEED)
    drawn, block = np.empty(DRAWS), max(1, 8_000_000 // len(sizes))
    for start in range(0, DRAWS, block):
        signs = generator.integers(0, 2, (min(block, DRAWS - start), len(sizes)), dtype=np.int8)
        drawn[start : start + len(signs)] = signs.astype(np.float32) @ (2 * sizes).astype(np.float32) - sizes.sum()
    tolerance = max(tolerance, 1e-6 * float(sizes.sum()) / math.sqrt(len(sizes)))
    # Of signs drawn one by one the mirrored ones are as likely: both count, and B beside A is what A beside B is.
    return _both_ways(_counted(drawn, observed, tolerance), _counted(drawn, -observed, tolerance), DRAWS)


def _whole(values: Any) -> list[int] | None:
    """The values as whole numbers of one unit, or ``None``."""
    if len(values) == 0:
        return []
    unit = 1
    for value in set(np.round(np.abs(values), 12).tolist()):  # rounded: 0.3 − 0.1 is 0.2
        nearest = Fraction(value).limit_denominator(MOST_DENOMINATOR)
        if abs(float(nearest) - value) > 1e-11 or not nearest:
            return None
        unit = math.lcm(unit, nearest.denominator)
        if unit > MOST_DENOMINATOR:
            return None
    return [round(float(v) * unit) for v in values]
