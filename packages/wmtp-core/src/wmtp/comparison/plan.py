"""Before a second run is made: how many samples a difference would need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wmtp.comparison.compare import read
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
    run = read(runs[0])
    goal = difference or 0.02
    for evaluator, (problems, noise) in _noise(run, metrics).items():
        error = goal / DETECTABLE
        apart = max(1, math.ceil(2 * noise / (problems * error**2)))
        shared = max(1, math.ceil(2 * noise * (1 - CORRELATION) / (problems * error**2)))
        yield f"{evaluator or run.form}: {problems} problems, sampling variance {noise:.4f} a sample"
        yield f"  to find {100 * goal:.1f} points in 80 of 100 comparisons: {apart} samples a problem in each run"
        yield f"  with the same seed in both, if outcomes then correlate by {CORRELATION} (assumed): {shared}"
        for n in SAMPLES:
            found = DETECTABLE * math.sqrt(2 * noise / (problems * n))
            saved = found * math.sqrt(1 - CORRELATION)
            yield f"    n = {n:2}: finds {100 * found:.1f} points; with shared noise {100 * saved:.1f}"


def _noise(run: RunData, metrics: Sequence[str]) -> dict[str, tuple[int, float]]:
    if unknown := [m for m in metrics if m not in run.owners]:
        raise ConfigError(f"{unknown[0]} is no metric of {run.path}; it has {', '.join(run.owners)}")
    sampled = {owner for owner, of in run.judged.items() if of.passed}
    owners = {run.owners[m] for m in metrics} if metrics else sampled
    if not owners & sampled:
        raise ConfigError(f"{run.path} has no judged samples{' of these metrics' if metrics else ''} to plan with")
    found = {}
    for owner in sorted(owners & sampled):
        passed = [of for of in run.judged[owner].passed.values() if of]
        n, c = (np.array([f(of) for of in passed], dtype=float) for f in (len, lambda of: sum(of.values())))
        if n.min() < 2:
            # One sample a problem cannot tell; between problems and samples there is at most this.
            noise = float((c / n).mean() * (1 - (c / n).mean()))
        else:
            noise = float((c * (n - c) / (n * (n - 1))).mean())
        found[owner] = (len(passed), noise)
    return found
