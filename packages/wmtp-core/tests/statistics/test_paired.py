"""Differences of two runs: p-values against scipy and against enumeration, intervals, and what they promise."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wmtp.statistics.best_case import BestCase
from wmtp.statistics.intervals import share_limits
from wmtp.statistics.multiplicity import holm
from wmtp.statistics.paired import (
    DETECTABLE,
    PassCounts,
    compare_passes,
    compare_values,
    difference_limits,
    score_limits,
)
from wmtp.statistics.permutation import DRAWS, _convolved, binomial_tails, moved_between_runs, sign_flips, tails
from wmtp.statistics.planning import needed


def counts(n_a: int, c_a: list[int], n_b: int, c_b: list[int], both: list[int] | None = None) -> PassCounts:
    size = len(c_a)
    return PassCounts(
        n_a=np.full(size, n_a), c_a=np.array(c_a), n_b=np.full(size, n_b), c_b=np.array(c_b),
        both=None if both is None else np.array(both),
    )  # fmt: skip


@given(st.integers(0, 60), st.integers(0, 60))
def test_one_sample_a_problem_is_mcnemars_mid_p_test(gained: int, lost: int) -> None:
    a = [0] * gained + [1] * lost + [1, 0]
    b = [1] * gained + [0] * lost + [1, 0]
    found = compare_passes(counts(1, a, 1, b), 1)
    total = gained + lost
    peer = stats.binom(total, 0.5)
    one_sided = peer.cdf(min(gained, lost)) - peer.pmf(min(gained, lost)) / 2
    assert found.p_value == pytest.approx(min(1, 2 * one_sided), abs=1e-9)
    if total and gained != lost:  # the exact test counts the whole atom; scipy's is the same test
        exact = found.p_value + peer.pmf(gained)
        assert exact == pytest.approx(stats.binomtest(gained, total).pvalue, abs=1e-9)
    assert found.test == "mcnemar, exact, mid-p"


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=9))
def test_sign_flips_equal_scipys_permutation_test(tenths: list[int]) -> None:
    differences = np.array(tenths) / 10
    peer = stats.permutation_test(
        (np.array(tenths),), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="greater"
    )
    found = sign_flips(differences)
    assert found.greater + found.equal == pytest.approx(peer.pvalue, abs=1e-9)


@settings(max_examples=60)
@given(st.data())
def test_samples_between_runs_equal_an_enumeration(data: st.DataObject) -> None:
    """Every way to deal the samples of three problems to the runs, counted one by one."""
    n_a, n_b, k = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)), 1
    k = data.draw(st.integers(1, min(n_a, n_b)))
    c_a = data.draw(st.lists(st.integers(0, n_a), min_size=1, max_size=3))
    c_b = [data.draw(st.integers(0, n_b)) for _ in c_a]

    def value(n: int, c: int) -> Fraction:
        return 1 - Fraction(math.comb(n - c, k), math.comb(n, k))

    ways = []
    for a, b in zip(c_a, c_b, strict=True):
        pool = [1] * (a + b) + [0] * (n_a + n_b - a - b)
        picks = itertools.combinations(range(len(pool)), n_b)
        ways.append([value(n_b, s) - value(n_a, a + b - s) for p in picks if (s := sum(pool[i] for i in p)) >= 0])
    sums = [sum(way) for way in itertools.product(*ways)]
    observed = sum(value(n_b, b) - value(n_a, a) for a, b in zip(c_a, c_b, strict=True))
    less, equal = sum(s < observed for s in sums), sum(s == observed for s in sums)
    tail = min(less, len(sums) - less - equal) + Fraction(equal, 2)
    found = compare_passes(counts(n_a, c_a, n_b, c_b), k)
    assert found.p_value == pytest.approx(min(1.0, float(2 * tail / len(sums))), abs=1e-9)


def test_a_lattice_that_is_cut_short_and_draws_agree_with_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    p = generator.beta(0.5, 0.5, 974)
    a, b = generator.binomial(16, p), generator.binomial(16, p)
    pair = PassCounts(n_a=np.full(974, 16), c_a=a, n_b=np.full(974, 16), c_b=b)
    short = compare_passes(pair, 1)
    monkeypatch.setattr("wmtp.statistics.permutation.SPREADS", 1e9)
    whole = compare_passes(pair, 1)
    assert short.p_value == pytest.approx(whole.p_value, abs=1e-10)
    monkeypatch.setattr("wmtp.statistics.permutation.MOST_POINTS", 2)
    drawn = compare_passes(pair, 1)
    assert f"{DRAWS} draws" in drawn.test
    assert drawn.p_error > 0
    assert abs(drawn.p_value - whole.p_value) < 5 * drawn.p_error


@pytest.mark.parametrize(("least", "most", "k"), [(500, 1000, 10), (200, 400, 2), (900, 1000, 100)])
def test_samples_of_many_numbers_have_a_unit_too_small_for_floats(least: int, most: int, k: int) -> None:
    generator = np.random.default_rng(1)
    n, p = generator.integers(least, most + 1, 164), generator.random(164)
    a, b = generator.binomial(n, p), generator.binomial(n, 0.999 * p)
    found = compare_passes(PassCounts(n_a=n, c_a=a, n_b=n, c_b=b), k)
    assert found.p_error > 0
    # The sum of so many is all but normal, and its variance under "alike" is nearly that of sampling.
    assert found.within is not None
    z = found.difference / math.sqrt(found.within / found.samples / 164)
    assert found.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=0.05)


def test_equal_runs_are_as_alike_as_can_be() -> None:
    found = compare_passes(counts(4, [0, 4, 2] * 20, 4, [0, 4, 2] * 20, [0, 4, 2] * 20), 1)
    assert (found.difference, found.p_value) == (0, 1)
    assert found.low < 0 < found.high
    assert found.coupling is not None
    assert found.coupling.correlation == pytest.approx(1)
    assert found.coupling.variance_saved == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30), st.integers(1, 5))
def test_swapping_the_runs_mirrors_everything(pairs: list[tuple[int, int]], k: int) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    one, other = compare_passes(counts(5, a, 5, b), k), compare_passes(counts(5, b, 5, a), k)
    assert one.p_value == pytest.approx(other.p_value, abs=1e-9)
    assert (one.low, one.high) == (pytest.approx(-other.high, abs=1e-9), pytest.approx(-other.low, abs=1e-9))
    assert one.low - 1e-9 <= one.difference <= one.high + 1e-9
    assert one.these_low - 1e-9 <= one.difference <= one.these_high + 1e-9


def test_the_interval_covers_flips_in_one_direction() -> None:
    """164 problems, 3 % of them gained and none lost: Wald's interval covers 87 %."""
    flips = (np.random.default_rng(5).random((20_000, 164)) < 0.03).astype(float)
    low, high = difference_limits(flips)
    assert ((low <= 0.03) & (high >= 0.03)).mean() == pytest.approx(0.95, abs=0.01)


def test_scores_get_an_interval_of_their_own_size() -> None:
    """0.6 ± 0.03 in both runs: with room for an unseen difference of 1 the interval was 3 to 17 times too wide."""
    generator = np.random.default_rng(6)
    a, b = generator.beta(200, 130, (2, 24))
    scored = compare_values(a, b, share=True)
    assert (scored.share, scored.method) == (True, "newcombe-student-scaled")
    student = 2 * 2.069 * float((b - a).std(ddof=1)) / math.sqrt(24)
    assert 0.9 * student < scored.high - scored.low < 1.1 * student
    same = compare_values(a, a, share=True)
    assert same.low < -0.1
    assert same.high > 0.1


def test_values_that_are_outcomes_get_the_interval_of_outcomes() -> None:
    a, b = np.random.default_rng(8).integers(0, 2, (2, 60))
    values, passes = compare_values(a, b, share=True), compare_passes(counts(1, list(a), 1, list(b)), 1)
    assert (values.low, values.high, values.method) == (passes.low, passes.high, passes.method)


def test_the_interval_covers_few_small_gains() -> None:
    """164 problems, 3 % of them gain a little and none loses: Student's interval covers 82 %, a bootstrap 80 to 87 %."""
    generator = np.random.default_rng(5)
    gains = (generator.random((5_000, 164)) < 0.03) * generator.beta(1, 9, (5_000, 164))
    low, high = score_limits(gains)
    assert ((low <= 0.003) & (high >= 0.003)).mean() == pytest.approx(0.95, abs=0.015)


def test_the_interval_for_these_problems_covers_new_samples_of_them() -> None:
    """24 problems that all gain: the limits for new problems lean downwards, and shrunk they missed 14 of 100 on one side."""
    generator, covered = np.random.default_rng(12), 0
    for _ in range(400):
        p = generator.beta(0.2, 0.2, 24)
        q = np.minimum(p + 0.1, 1)
        found = compare_passes(counts(16, list(generator.binomial(16, p)), 16, list(generator.binomial(16, q))), 1)
        covered += found.these_low <= float((q - p).mean()) <= found.these_high
    assert 0.92 <= covered / 400 <= 0.98


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 2), min_size=1, max_size=12))
def test_scores_limits_hold_the_difference_and_lie_within_the_possible(pairs: list[tuple[float, float]]) -> None:
    found = compare_values([p[0] for p in pairs], [p[1] for p in pairs], share=True)
    assert -1 <= found.low <= found.difference + 1e-9
    assert found.difference - 1e-9 <= found.high <= 1


@pytest.mark.parametrize(("problems", "n", "rate"), [(164, 1, 0.05), (164, 4, 0.5), (500, 4, 0.05), (500, 1, 0.5)])
def test_the_test_keeps_its_size(problems: int, n: int, rate: float) -> None:
    generator = np.random.default_rng(problems * n)
    runs = generator.binomial(n, rate, (1500, 2, problems))
    rejected = np.mean([compare_passes(counts(n, list(a), n, list(b)), 1).p_value <= 0.05 for a, b in runs])
    assert 0.045 - 0.012 <= rejected <= 0.055 + 0.012  # two standard errors


def test_shared_noise_is_seen_used_and_does_not_bend_the_test() -> None:
    generator = np.random.default_rng(11)
    p, sizes, rejected, saved = generator.beta(1, 1, 164), np.full(164, 8), [], []
    for _ in range(600):
        common, own = generator.random((164, 8)), generator.random((2, 164, 8))
        shared = generator.random((164, 8)) < 0.6
        a, b = (np.where(shared, common, other) < p[:, None] for other in own)
        found = compare_passes(PassCounts(n_a=sizes, c_a=a.sum(1), n_b=sizes, c_b=b.sum(1), both=(a & b).sum(1)), 1)
        rejected.append(found.p_value <= 0.05)
        assert found.coupling is not None
        saved.append(found.coupling.variance_saved)
    assert np.mean(saved) == pytest.approx(0.6, abs=0.03)
    assert 0.028 <= np.mean(rejected) <= 0.072


def test_values_without_samples_are_compared_by_flipping_signs() -> None:
    a = np.random.default_rng(3).normal(2, 0.3, 80)
    found = compare_values(a, a - 0.1 + np.random.default_rng(4).normal(0, 0.2, 80), share=False)
    assert found.test == f"sign-flips, {DRAWS} draws, mid-p"
    assert found.low < -0.1 < found.high
    assert found.p_value < 0.01


def test_differences_below_rounding_are_compared_too() -> None:
    for size in (1e-13, 1e-38, 1e-300):
        assert compare_values([0.5, 0.0, 0.0], [0.5, size, size], share=False).p_value == pytest.approx(0.25)
        assert compare_values([0.0] * 40, [size] * 40, share=True).p_value < 0.001


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(2, 9), st.booleans())
def test_what_rounding_makes_of_equal_values_is_no_difference(numbers: list[int], epochs: int, share: bool) -> None:
    a = [number / 50 for number in numbers]
    b = [sum([value] * epochs) / epochs for value in a]
    found = compare_values(a, b, share=share)
    assert (found.difference, found.discordant, found.rose, found.p_value) == (0, 0, 0, 1)
    assert (found.low, found.high, found.method) == (
        (again := compare_values(a, a, share=share)).low,
        again.high,
        again.method,
    )


@pytest.mark.parametrize("gain", [0.1, 0.5, 0.3])
def test_equal_gains_have_no_spread_that_rounding_makes(gain: float) -> None:
    a = np.arange(24) / 48
    assert compare_values(2500 + a, 2500 + a + gain, share=False).method == "no-spread"
    low, high = difference_limits(np.full((1, 24), gain))
    exact = share_limits(np.array(gain), np.array(0.0), 24)  # losses: none of 24; Student's interval has no width
    assert float(low[0]) < float(exact[0]) < gain < float(high[0])
    assert float(high[0]) == pytest.approx(gain + math.hypot(float(exact[1]) - gain, 0.0), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_draws_are_mirrored_where_the_runs_are(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.standard_normal(60), generator.standard_normal(60) + 0.3
    n_a, n_b = generator.integers(2, 120, (2, 80))
    c_a, c_b = generator.binomial(n_a, 0.5), generator.binomial(n_b, 0.55)
    one, other = PassCounts(n_a=n_a, c_a=c_a, n_b=n_b, c_b=c_b), PassCounts(n_a=n_b, c_a=c_b, n_b=n_a, c_b=c_a)
    for found, mirror in (
        (compare_values(a, b, share=False), compare_values(b, a, share=False)),
        (compare_passes(one, 2), compare_passes(other, 2)),
    ):
        assert f"{DRAWS} draws" in found.test
        assert found.p_value == pytest.approx(mirror.p_value, rel=1e-12)


def test_what_was_drawn_for_one_problem_is_every_way_to_deal() -> None:
    values, shares = moved_between_runs(2, 1, 1, (0, 1, 2), (0, 2))
    assert dict(zip(values, shares, strict=True)) == {-1: pytest.approx(2 / 3), 2: pytest.approx(1 / 3)}
    assert tails({((5,), (1.0,)): 3}, 15).equal == 1


def test_holms_step_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([]) == []


def test_a_plan_that_is_followed_has_its_power() -> None:
    """What `needed` asks for finds the difference in about 80 of 100 cases."""
    generator = np.random.default_rng(9)
    p = generator.beta(2, 2, 200)

    def run(problems: int, n: int, gain: float) -> float:
        rates = generator.beta(2, 2, problems)
        better = np.minimum(rates + gain, 1)
        return compare_passes(
            counts(n, list(generator.binomial(n, rates)), n, list(generator.binomial(n, better))), 1
        ).p_value

    pilot = compare_passes(counts(4, list(generator.binomial(4, p)), 4, list(generator.binomial(4, p))), 1)
    plan = needed(pilot, 0.05)
    assert plan.samples is not None
    found = np.mean([run(200, plan.samples, 0.05) <= 0.05 for _ in range(300)])
    assert 0.65 <= found <= 0.92


@given(st.integers(1, 400), st.data())
def test_mcnemars_tails_are_exact_however_small(coins: int, data: st.DataObject) -> None:
    heads = data.draw(st.integers(0, coins))
    fewer, peer = min(heads, coins - heads), stats.binom(coins, 0.5)
    tail = Fraction(sum(math.comb(coins, j) for j in range(fewer)), 2**coins) + Fraction(
        math.comb(coins, fewer), 2 ** (coins + 1)
    )
    found = binomial_tails(coins, heads)
    assert found.p_value == pytest.approx(min(1.0, float(2 * tail)), rel=1e-12)
    assert found.less == pytest.approx(peer.cdf(heads - 1), abs=1e-9)
    assert found.greater == pytest.approx(peer.sf(heads), abs=1e-9)


def test_no_p_value_is_zero_or_smaller_than_its_rounding() -> None:
    one_way = compare_passes(counts(1, [0] * 164, 1, [1] * 164), 1)
    assert (one_way.p_value, one_way.p_error) == (pytest.approx(2.0**-164), 0)
    assert 0 < compare_passes(counts(1, [0] * 3000, 1, [1] * 3000), 1).p_value < 1e-300
    many, peer = binomial_tails(1_000_000, 499_000), stats.binom(1_000_000, 0.5)
    assert many.p_value == pytest.approx(2 * (peer.cdf(498_999) + peer.pmf(499_000) / 2), rel=1e-8)
    for both in (None, [0, 1] * 80):
        far = compare_passes(counts(9, [0, 1] * 80, 9, [9, 8] * 80, both and [0] * 160), 1)
        assert 0 < far.p_error <= far.p_value < 1e-9


def test_what_rounding_leaves_of_a_convolution_is_no_more_than_is_said() -> None:
    for problems in (10, 164, 5000):
        exact = [binomial_tails(problems, heads) for heads in range(0, problems + 1, max(1, problems // 20))]
        points = 1 << math.ceil(math.log2(problems + 2))
        for heads, peer in zip(range(0, problems + 1, max(1, problems // 20)), exact, strict=True):
            found = _convolved({((-1, 1), (0.5, 0.5)): problems}, 2 * heads, 2, points, wrapped=False, middle=problems)
            assert abs(found.less - peer.less) < found.rounding
            assert abs(found.greater - peer.greater) < found.rounding


@pytest.mark.parametrize("problems", [5, 24, 164])
def test_what_would_have_been_found_is_what_the_test_finds_at_best(problems: int) -> None:
    """Flips all one way, their number binomial: the test needs five."""
    for flips in (0, 1, problems):
        for found in (
            compare_passes(counts(1, [0] * problems, 1, [1] * flips + [0] * (problems - flips)), 1),
            compare_values([0.0] * problems, [1.0] * flips + [0.0] * (problems - flips), share=True),
        ):
            least = found.smallest_detectable
            power = sum(
                stats.binom.pmf(k, problems, min(1, least))
                for k in range(problems + 1)
                if binomial_tails(k, k).p_value <= 0.05
            )
            assert power >= 0.8 - 1e-6


def test_few_problems_with_one_sample_find_nothing_and_with_several_they_may() -> None:
    for problems in range(1, 5):
        for end in (0, 1):
            assert compare_passes(counts(1, [0] * problems, 1, [end] * problems), 1).smallest_detectable == math.inf
            assert compare_values([1.5] * problems, [2.5 + end] * problems, share=False).smallest_detectable == math.inf
    assert BestCase(size=1.0).least(2, samples=2) < 1
    assert BestCase(size=1.0).least(1, samples=3) == pytest.approx(0.8)
    assert BestCase(size=1.0, shared=True).least(1, samples=3) == math.inf  # 2 to minus 3
    assert BestCase(size=1.0).least(1, samples=1 << 40) < 1e-6


@settings(max_examples=25)
@given(st.integers(2, 40), st.integers(2, 30), st.booleans(), st.floats(0.02, 0.9), st.data())
def test_no_power_is_above_the_best_case(
    problems: int, samples: int, shared: bool, part: float, data: st.DataObject
) -> None:
    """Single samples gained in other problems each, or whole problems: below the least difference neither has 80 %."""
    least = BestCase(size=1.0, shared=shared).least(problems, samples)
    if least == math.inf:
        return
    rate, zeros = part * least, [0] * problems
    for size, trials in ((samples, problems), (1, problems * samples)):
        power = 0.0
        for gains in range(min(trials, 12) + 1):
            gained = (
                [size] * gains + [0] * problems
                if size > 1
                else [gains // problems + (i < gains % problems) for i in range(problems)]
            )
            found = compare_passes(counts(samples, zeros, samples, gained[:problems], zeros if shared else None), 1)
            power += stats.binom.pmf(gains, trials, rate) * (found.p_value <= 0.05)
        assert power < 0.81


def test_values_of_which_few_differ_need_more_that_do() -> None:
    few = compare_values([2.0] * 100, [2.0] * 99 + [2.5], share=False)
    assert few.smallest_detectable >= 0.5 * BestCase(size=1.0).least(100)
    alike = compare_values([0.5] * 164, [0.52] * 164, share=False)
    assert 0 < alike.smallest_detectable < 1e-12
    generator = np.random.default_rng(6)
    a, b = generator.beta(200, 130, (2, 24))
    scored = compare_values(a, b, share=True)  # all differ: their variance tells
    assert scored.smallest_detectable == DETECTABLE * scored.standard_error


@given(st.integers(1, 200), st.integers(1, 5), st.floats(0.001, 0.9), st.randoms())
def test_what_would_settle_it_is_no_less_than_the_best_case(
    problems: int, n: int, goal: float, dice: random.Random
) -> None:
    a, b = ([dice.randint(0, n) for _ in range(problems)] for _ in "ab")
    found = compare_passes(counts(n, a, n, b), 1)
    plan = needed(found, goal)
    assert found.best.least(plan.problems, n) <= goal
    for samples in (plan.samples, plan.samples_these):
        assert samples is None or found.best.least(problems, samples) <= goal
