"""The difference of two runs on the same problems: interval, p-value, and what further work would show.

Two questions are kept apart. *New problems like these*: the differences of problems are draws from a population. *These
problems, new samples*: the problems stay, only the samples are drawn again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from wmtp.statistics.best_case import FEWEST, POWER, BestCase, rate_for
from wmtp.statistics.intervals import Array, Interval, bootstrap_t, share_limits
from wmtp.statistics.permutation import Outcomes, Tails, moved_between_runs, sign_flips, swapped_by_index, tails
from wmtp.statistics.quantiles import Z95, normal_quantile, student_quantile
from wmtp.statistics.rounding import differences, spreads

Ints = NDArray[np.int64]
SCORE_WEIGHT = 0.6  # of the score interval beside Student's; chosen by simulation (decision 0061)
SHARE_METHOD = "newcombe-student"
NO_INTERVAL = "one-problem"
SCORE_METHOD = "newcombe-student-scaled"
REACH = 2.0  # how far beyond the largest difference seen one that was not seen may lie; decision 0163
MANY_CARRIERS = 40.0  # problems that carry the differences, from which on Student's limits need no help; decision 0163
DETECTABLE = Z95 + normal_quantile(POWER)


@attrs.frozen(kw_only=True)
class PassCounts:
    """Passes of two runs on the same problems, in one order.

    Attributes:
        n_a, c_a, n_b, c_b: Samples and passes of each problem, in each run.
        both: Indices of each problem where both runs' samples passed, if the runs shared their noise; then n_a = n_b.
    """

    n_a: Ints
    c_a: Ints
    n_b: Ints
    c_b: Ints
    both: Ints | None = None


@attrs.frozen(kw_only=True)
class Coupling:
    """What shared noise brought.

    Attributes:
        correlation: Of the two runs' outcomes of one index, within problems; ``None`` where no outcome varies within one.
        variance_saved: Share of the difference's sampling variance (these problems, new samples) that coupling removed.
    """

    correlation: float | None
    variance_saved: float | None


@attrs.frozen(kw_only=True)
class Difference:
    """Run b less run a.

    Attributes:
        a, b, difference: Means over problems, and b − a.
        low, high: 95 % interval for new problems like these; ``None`` where one problem shows no spread. method: how it was
            made.
        share: Whether the values are shares, between 0 and 1.
        these_low, these_high: 95 % interval for these problems with new samples; the same one where sampling cannot be told
            from problems: one sample a problem, or no problem with both outcomes.
        p_value: Two-sided, mid-p. test: its name. p_error: standard error from drawing; of a convolution, what rounding leaves
            (no p_value is below it); 0 where it is exact to the last digits.
        standard_error: Of the difference, for new problems. within, between: its variance for one problem and one sample of
            each run, and what no number of samples removes; ``None`` where they cannot be told apart.
        best: What the test can find at best.
        spread: Whether some problems differ more than others.
        problems, discordant, rose: Problems, those with a difference, and those where b's value is the larger one.
        coupling: Where the runs shared their noise.
    """

    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    method: str
    share: bool
    these_low: float | None
    these_high: float | None
    p_value: float
    p_error: float
    test: str
    standard_error: float
    within: float | None
    between: float | None
    samples: float
    best: BestCase
    spread: bool
    problems: int
    discordant: int
    rose: int
    coupling: Coupling | None = None

    @property
    def smallest_detectable(self) -> float:
        """The true difference that such a comparison finds in 80 of 100 cases, at 5 %; infinite where it finds none.

        Of shares, none is found from 1 on.
        """
        return max(DETECTABLE * self.standard_error, self.best.least(self.problems, self.samples))

    def lies_within(self, margin: float) -> bool:
        """Whether the interval for new problems lies within ± margin, and tells how far they can lie.

        One made from the differences seen tells nothing where these show no spread: unless none differs, of enough problems.
        That of outcomes is no narrower than coins'.
        """
        if self.low is None or self.high is None or not -margin < self.low <= self.high < margin:
            return False
        known = self.discordant == 0 or self.method == SHARE_METHOD
        return self.spread or (known and self.smallest_detectable < (1 if self.share else math.inf))


def compare_passes(counts: PassCounts, k: int) -> Difference:
    """Compare pass@k. Raises ValueError where a problem has fewer than k samples in a run."""
    if int(min(counts.n_a.min(), counts.n_b.min())) < k:
        raise ValueError(f"pass@{k} needs {k} samples of every problem in both runs")
    a, b = pass_values(counts.n_a, counts.c_a, k), pass_values(counts.n_b, counts.c_b, k)
    null = _null(counts, k)
    within = _sampling_variance(counts, k)
    one = bool((counts.n_a == 1).all() and (counts.n_b == 1).all())
    kind = "mcnemar" if one else "swap-by-index" if counts.both is not None else "samples-between-runs"
    samples = 2 / float((1 / counts.n_a + 1 / counts.n_b).mean())
    coupling = _coupling(counts, k, within) if counts.both is not None else None
    # A variance of 0 is what was seen of sampling, and no more: no problem has both outcomes, or the runs are copies.
    best = BestCase(size=1.0, k=k, shared=counts.both is not None)
    return _difference(
        a, b, null, kind, share=True, within=within or None, samples=samples, best=best, coupling=coupling
    )


def compare_values(a: Sequence[float], b: Sequence[float], *, share: bool) -> Difference:
    """Compare values of which a problem has one in each run: exact match, losses, scores that others gave.

    The p-value exchanges the two runs' values of a problem. share: values can only lie between 0 and 1.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    null = sign_flips(differences(left, right))
    best = _best_of_values(left, right, share=share)
    return _difference(left, right, null, "sign-flips", share=share, within=None, samples=1.0, best=best, coupling=None)


def _best_of_values(a: Array, b: Array, *, share: bool) -> BestCase:
    """What sign flips can find at best. Where hardly a problem differs, more must, by as much as was seen at most."""
    d = np.abs(differences(a, b))
    rounding = float(np.finfo(np.float64).eps * max(np.abs(a).max(), np.abs(b).max()))
    if share and only_coins(a, b):
        return BestCase(size=1.0)
    few = int((d > 0).sum()) < rate_for(FEWEST, len(d)) * len(d)
    largest = float(d.max()) or float(share)  # of shares that do not differ, nothing is known of how far one could
    return BestCase(size=largest if few else 0.0, rounding=rounding)


def _difference(
    a: Array, b: Array, null: Tails, kind: str, *, share: bool, within: float | None, samples: float, best: BestCase,
    coupling: Coupling | None,
) -> Difference:  # fmt: skip
    d = differences(a, b)
    problems, middle = len(d), float(d.mean())
    limits = _interval(a, b, d, share=share, outcomes=kind != "sign-flips")
    low, high = (limits.low, limits.high) if limits else (None, None)
    variance = float(d.var(ddof=1)) if problems > 1 else 0.0
    # Few problems that differ tell little of the variance: what could be found is judged no better than the interval is wide.
    width = 0.0 if low is None or high is None else high - low
    error = max(math.sqrt(variance / problems), width / (2 * Z95))
    these_low, these_high = low, high
    if within is not None and variance > 0 and low is not None and high is not None:
        # The sum of many samples is all but normal, whichever way the problems lean; the limits for new problems are not.
        half = min(
            student_quantile(0.975, problems - 1) * math.sqrt(within / problems), max(middle - low, high - middle)
        )
        these_low, these_high = middle - half, middle + half
    return Difference(
        a=float(a.mean()),
        b=float(b.mean()),
        difference=middle,
        low=low,
        high=high,
        method=limits.method if limits else NO_INTERVAL,
        share=share,
        these_low=max(-1.0, these_low) if share and these_low is not None else these_low,
        these_high=min(1.0, these_high) if share and these_high is not None else these_high,
        p_value=null.p_value,
        p_error=null.error,
        test=f"{kind}, {'exact' if not null.draws else f'{null.draws} draws'}, mid-p",
        standard_error=error,
        within=None if within is None or variance == 0 else within * samples,
        between=None if within is None or variance == 0 else max(0.0, problems * error**2 - within),
        samples=samples,
        best=best,
        spread=bool(np.ptp(d) > 0),
        problems=problems,
        discordant=int((d != 0).sum()),
        rose=int((d > 0).sum()),
        coupling=coupling,
    )


def _interval(a: Array, b: Array, d: Array, *, share: bool, outcomes: bool) -> Interval | None:
    """The difference's interval for new problems. outcomes: the values are pass@k of samples that are there."""
    if not share:
        return bootstrap_t(d)
    limits, method = (difference_limits, SHARE_METHOD) if outcomes or only_coins(a, b) else (score_limits, SCORE_METHOD)
    low, high = limits(d[None, :])
    return Interval(low=float(low[0]), high=float(high[0]), method=method)


def difference_limits(d: Array) -> tuple[Array, Array]:
    """Return 95 % limits for the mean of differences between −1 and 1, one row of problems a comparison.

    Gains and losses each get the interval of a share; the two are put together as Newcombe (1998) does (MOVER; Zou and
    Donner 2008), with their covariance. That covers, and is a little wide; Student's is a little narrow where few problems
    differ. Their average, 6 to 4, covers 94 to 96 % in the simulated cases (``benchmarks/compare.py``). Where no problem
    differs, Student's has no width, and the first stands alone.
    """
    problems = d.shape[1]
    gains, losses = np.maximum(d, 0), np.maximum(-d, 0)
    up, down = gains.mean(1), losses.mean(1)
    up_variance, down_variance = gains.var(1), losses.var(1)
    up_low, up_high = (np.atleast_1d(x) for x in share_limits(up, up_variance, problems))
    down_low, down_high = (np.atleast_1d(x) for x in share_limits(down, down_variance, problems))
    product = np.sqrt(up_variance * down_variance)
    correlation = np.divide(-up * down, product, out=np.zeros_like(up), where=product > 0)
    middle = up - down

    def reach(one: Array, other: Array) -> Array:
        reached: Array = np.sqrt(np.maximum(one * one + other * other - 2 * correlation * one * other, 0))
        return reached

    low, high = middle - reach(up - up_low, down_high - down), middle + reach(up_high - up, down - down_low)
    if problems == 1:
        return low, high
    half = student_quantile(0.975, problems - 1) * d.std(1, ddof=1) / math.sqrt(problems)
    weight = np.where(spreads(d, 1.0), SCORE_WEIGHT, 1.0)
    return (
        np.maximum(weight * low + (1 - weight) * (middle - half), -1),
        np.minimum(weight * high + (1 - weight) * (middle + half), 1),
    )


def score_limits(d: Array) -> tuple[Array, Array]:
    """Return 95 % limits for the mean of differences of scores between 0 and 1, one row of problems a comparison.

    `difference_limits` leaves room for a problem that was not seen and differs by 1. Scores seldom differ as much: here such a
    problem differs by the largest difference seen and a little more, by REACH / m of it, where m is the number of problems that
    carry the differences (that of their squares, as Kish counts weights). Where m is far beyond MANY_CARRIERS, Student's
    limits stand alone. Chosen by simulation (``benchmarks/scores.py``, decision 0163).
    """
    squares = d * d
    fourth = (squares * squares).sum(1)
    carriers = np.divide(squares.sum(1) ** 2, fourth, out=np.zeros_like(fourth), where=fourth > 0)
    largest = np.abs(d).max(1) * (1 + REACH / np.maximum(carriers, 1))
    scale = np.where(fourth > 0, np.minimum(largest, 1), 1)  # no problem differs: nothing is known of how far one could
    low, high = (scale * limit for limit in difference_limits(d / scale[:, None]))
    problems = d.shape[1]
    if problems == 1:
        return low, high
    weight, middle = 1 / (1 + (carriers / MANY_CARRIERS) ** 2), d.mean(1)
    half = student_quantile(0.975, problems - 1) * d.std(1, ddof=1) / math.sqrt(problems)
    return (
        np.maximum(weight * low + (1 - weight) * (middle - half), -1),
        np.minimum(weight * high + (1 - weight) * (middle + half), 1),
    )


def only_coins(*values: Array) -> bool:
    """Whether every value is 0 or 1, as an outcome is."""
    return all(bool(((of == 0) | (of == 1)).all()) for of in values)


def pass_values(n: Ints, c: Ints, k: int) -> Array:
    """Return each problem's unbiased estimate of pass@k (Chen et al., arXiv 2107.03374)."""
    found = {
        (a, b): 1.0 - math.comb(a - b, k) / math.comb(a, k) for a, b in set(zip(n.tolist(), c.tolist(), strict=True))
    }
    return np.array([found[pair] for pair in zip(n.tolist(), c.tolist(), strict=True)])


def _null(counts: PassCounts, k: int) -> Tails:
    """The null distribution of the sum of differences, in whole numbers of the values' common unit."""
    sizes = sorted({*counts.n_a.tolist(), *counts.n_b.tolist()})
    unit = math.lcm(*(math.comb(n, k) for n in sizes))
    whole = {n: tuple(unit - unit // math.comb(n, k) * math.comb(n - c, k) for c in range(n + 1)) for n in sizes}
    groups: Counter[Outcomes] = Counter()
    observed = 0
    both = counts.both.tolist() if counts.both is not None else [None] * len(counts.n_a)
    lines = zip(counts.n_a.tolist(), counts.c_a.tolist(), counts.n_b.tolist(), counts.c_b.tolist(), both, strict=True)
    for line, count in Counter(lines).items():
        n_a, c_a, n_b, c_b, shared = line
        observed += count * (whole[n_b][c_b] - whole[n_a][c_a])
        if shared is None:
            groups[moved_between_runs(n_a, n_b, c_a + c_b, whole[n_a], whole[n_b])] += count
        else:
            groups[swapped_by_index(shared, c_a + c_b - 2 * shared, whole[n_a])] += count
    return tails(groups, observed)


def _sampling_variance(counts: PassCounts, k: int) -> float | None:
    """Mean over problems of the difference's variance from sampling alone, by the jackknife over samples.

    For pass@1 that is the unbiased estimate. ``None`` where a problem has too few samples to leave one out.
    """
    if int(min(counts.n_a.min(), counts.n_b.min())) <= k:
        return None
    if counts.both is None:
        return _jackknife(counts.n_a, counts.c_a, k) + _jackknife(counts.n_b, counts.c_b, k)
    total = 0.0
    lines = zip(counts.n_a.tolist(), counts.c_a.tolist(), counts.c_b.tolist(), counts.both.tolist(), strict=True)
    for (n, c_a, c_b, both), count in Counter(lines).items():
        left = {(a, b): _less(n, c_b, b, k) - _less(n, c_a, a, k) for a in (0, 1) for b in (0, 1)}
        weights = {(1, 1): both, (1, 0): c_a - both, (0, 1): c_b - both, (0, 0): n - c_a - c_b + both}
        total += count * _spread([(left[key], weight) for key, weight in weights.items() if weight], n)
    return total / len(counts.n_a)


def _jackknife(sizes: Ints, passes: Ints, k: int) -> float:
    total = 0.0
    for (n, c), count in Counter(zip(sizes.tolist(), passes.tolist(), strict=True)).items():
        total += count * _spread([(_less(n, c, x, k), w) for x, w in ((1, c), (0, n - c)) if w], n)
    return total / len(sizes)


def _less(n: int, c: int, passed: int, k: int) -> float:
    """pass@k without one sample, which passed or did not; 0 where there is no such sample."""
    if not 0 <= c - passed <= n - 1:
        return 0.0
    return 1.0 - math.comb(n - 1 - (c - passed), k) / math.comb(n - 1, k)


def _spread(values: Sequence[tuple[float, int]], n: int) -> float:
    mean = sum(v * w for v, w in values) / n
    return (n - 1) / n * sum(w * (v - mean) ** 2 for v, w in values)


def _coupling(counts: PassCounts, k: int, within: float | None) -> Coupling:
    assert counts.both is not None
    n, a, b = counts.n_a, counts.c_a, counts.c_b
    covariance = float((counts.both / n - a * b / n**2).sum())
    product = math.sqrt(float((a / n - (a / n) ** 2).sum()) * float((b / n - (b / n) ** 2).sum()))
    saved = None
    if within is not None:
        apart = _jackknife(n, a, k) + _jackknife(n, b, k)
        saved = 1 - within / apart if apart > 0 else None
    return Coupling(correlation=covariance / product if product > 0 else None, variance_saved=saved)
