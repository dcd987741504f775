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
from wmtp.statistics.best_case import BestCase
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
    for evaluator, (problems, noise, why) in _noise(run, metrics).items():
        apart, shared = _samples(problems, noise, goal, coupled=False), _samples(problems, noise, goal, coupled=True)
        bound = "at most " if why else ""
        yield f"{evaluator or run.form}: {problems} problems, sampling variance {bound}{noise:.4f} a sample"
        if why:
            yield f"  ({why})"
        yield f"  samples a problem in each run, to find {100 * goal:.1f} points in 80 of 100 comparisons: {bound}{apart}"
        yield f"  with the same seed in both, if outcomes then correlate by {CORRELATION} (assumed): {bound}{shared}"
        for n in SAMPLES:
            found, saved = (_found(problems, noise, n, coupled=coupled) for coupled in (False, True))
            yield f"    n = {n:2}: finds {found}; with shared noise {saved.removesuffix(' points')}"


def _samples(problems: int, noise: float, goal: float, *, coupled: bool) -> int:
    """Samples a problem in each run that find `goal`, and no fewer than the test needs at best."""
    left = noise * (1 - CORRELATION * coupled)
    error = goal / DETECTABLE
    best = BestCase(size=1.0, shared=coupled).samples_for(goal, problems)
    return max(best or 1, math.ceil(2 * left / (problems * error**2)))


def _found(problems: int, noise: float, n: int, *, coupled: bool) -> str:
    left = noise * (1 - CORRELATION * coupled)
    least = BestCase(size=1.0, shared=coupled).least(problems, n)
    found = max(DETECTABLE * math.sqrt(2 * left / (problems * n)), least)
    return f"{100 * found:.1f} points" if found < 1 else "no difference"


def _noise(run: RunData, metrics: Sequence[str]) -> dict[str, tuple[int, float, str]]:
    found = choose([run], metrics) if metrics else []
    sampled = {owner for owner, of in run.judged.items() if of.passed}
    owners = {run.owners[m] for m in found} if found else sampled
    if not owners & sampled:
        raise ConfigError(f"{run.path} has no judged samples{' of these metrics' if metrics else ''} to plan with")
    return {owner: _variance(run.judged[owner].passed) for owner in sorted(owners & sampled)}


def _variance(outcomes: Mapping[str, Mapping[int, bool]]) -> tuple[int, float, str]:
    """Problems; the mean over them of p(1 − p); why that is the most that is possible and was not seen, if so."""
    passed = [of for of in outcomes.values() if of]
    n, c = (np.array([f(of) for of in passed], dtype=float) for f in (len, lambda of: sum(of.values())))
    if n.min() < 2:
        share, free = float((c / n).mean()), len(passed)
        noise = share * (1 - share)
        why = "one sample a problem cannot tell: between problems and samples together there is this much"
    else:
        share, free = float((c / n).mean()), int((n - 1).sum())
        # Unbiased, so by chance above what is possible at this rate.
        noise = min(float((c * (n - c) / (n * (n - 1))).mean()), share * (1 - share))
        why = ""
    if noise > 0:
        return len(passed), noise, why
    rare = 1 - 0.05 ** (1 / free)  # a rate of minority outcomes under which none is seen in 5 of 100 cases
    agree = "no problem's samples both passed and failed: this is the most that they leave possible, 95 %"
    return len(passed), rare * (1 - rare), agree
