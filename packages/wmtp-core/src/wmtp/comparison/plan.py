"""Before a second run is made: how many samples a difference would need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from wmtp.comparison.compare import check, read
from wmtp.comparison.metrics import choose
from wmtp.comparison.records import RunData
from wmtp.errors import ConfigError
from wmtp.statistics.paired import DETECTABLE

SAMPLES = (1, 2, 4, 8, 16, 32, 64)
CORRELATION = (
    0.3  # of outcomes under shared noise; assumed, and said so: `wmtp compare` measures it once both runs are there
)


def lines(runs: Sequence[Path], metrics: Sequence[str], difference: float | None) -> Iterator[str]:
    """Yield the plan of a comparison with one run that is there, for pass@1 of each of its evaluators.

    The sampling variance of a problem with pass rate p is p(1 − p); another run like this one adds the same. With `CORRELATION`
    between outcomes of one index, shared noise takes that share of it away. Asked is about these problems: how far two models'
    problems differ by themselves is not known before the second run.
    """
    if len(runs) != 1:
        raise ConfigError("--plan takes one run: the one that is there")
    goal = 0.02 if difference is None else difference
    check("a difference of pass@1 to plan for", goal, share=True)
    run = read(runs[0])
    for evaluator, (problems, noise, seen) in _noise(run, metrics).items():
        error = goal / DETECTABLE
        apart = max(1, math.ceil(2 * noise / (problems * error**2)))
        shared = max(1, math.ceil(2 * noise * (1 - CORRELATION) / (problems * error**2)))
        bound = "" if seen else "at most "
        yield f"{evaluator or run.form}: {problems} problems, sampling variance {bound}{noise:.4f} a sample"
        if not seen:
            yield "  (no problem's samples both passed and failed: this is the most that they leave possible, 95 %)"
        yield f"  samples a problem in each run, to find {100 * goal:.1f} points in 80 of 100 comparisons: {bound}{apart}"
        yield f"  with the same seed in both, if outcomes then correlate by {CORRELATION} (assumed): {bound}{shared}"
        for n in SAMPLES:
            found = DETECTABLE * math.sqrt(2 * noise / (problems * n))
            saved = found * math.sqrt(1 - CORRELATION)
            yield f"    n = {n:2}: finds {100 * found:.1f} points; with shared noise {100 * saved:.1f}"


def _noise(run: RunData, metrics: Sequence[str]) -> dict[str, tuple[int, float, bool]]:
    found = choose([run], metrics) if metrics else []
    sampled = {owner for owner, of in run.judged.items() if of.passed}
    owners = {run.owners[m] for m in found} if found else sampled
    if not owners & sampled:
        raise ConfigError(f"{run.path} has no judged samples{' of these metrics' if metrics else ''} to plan with")
    return {owner: _variance(run.judged[owner].passed) for owner in sorted(owners & sampled)}


def _variance(outcomes: Mapping[str, Mapping[int, bool]]) -> tuple[int, float, bool]:
    """Problems; the mean over them of p(1 − p); whether it was seen, or is the most that agreeing samples leave possible."""
    passed = [of for of in outcomes.values() if of]
    n, c = (np.array([f(of) for of in passed], dtype=float) for f in (len, lambda of: sum(of.values())))
    if n.min() < 2:
        # One sample a problem cannot tell; between problems and samples there is at most this.
        share, free = float((c / n).mean()), len(passed)
        noise = share * (1 - share)
    else:
        share, free = float((c / n).mean()), int((n - 1).sum())
        # Unbiased, so by chance above what is possible at this rate.
        noise = min(float((c * (n - c) / (n * (n - 1))).mean()), share * (1 - share))
    rare = 1 - 0.05 ** (1 / free)  # a rate of minority outcomes under which none is seen in 5 of 100 cases
    return len(passed), noise or rare * (1 - rare), noise > 0
