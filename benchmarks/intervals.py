"""Does the 95 % interval of one run cover? Simulated, beside the percentile bootstrap.

    python benchmarks/intervals.py [--quick] [--json FILE]

Every line is a benchmark of so many problems whose pass rates are drawn anew for each run from one population (the question is
*new problems like these*), n samples of each, and pass@k. Printed: the population's true mean, how often the interval covers
it, how often it lies wholly above and wholly below it, its mean width beside that of the percentile bootstrap over problems,
and the bootstrap's coverage. A second table does the same for means of values that are no shares.

Limits: coverage 93 to 98 % in every line (from 93 % on where the truth lies within 0.002 of 0 or 1), mean width at most 1.15
times the bootstrap's where that covers 93 % or more. The exit status is 1 where a line misses one by more than chance: three
standard errors of the simulation.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from closing import beyond_limits

from wmtp.statistics.intervals import bootstrap_t, mean_interval, share_limits

PROBLEMS = (24, 164, 500, 974)
SAMPLES = ((1, 1), (10, 1), (10, 5), (20, 10))
Rates = Callable[[np.random.Generator, Any], Any]
POPULATIONS: dict[str, Rates] = {
    "hard": lambda g, shape: g.beta(0.25, 4, shape),
    "bimodal": lambda g, shape: g.beta(0.2, 0.2, shape),
    "flat": lambda g, shape: g.random(shape),
    "easy": lambda g, shape: g.beta(4, 0.25, shape),
    # Others, so that the method is not fitted to four curves: most problems hopeless; nearly all within reach.
    "hopeless": lambda g, shape: np.where(g.random(shape) < 0.8, 0.0, g.beta(0.5, 1, shape)),
    "reach": lambda g, shape: g.beta(9, 1, shape),
}
VALUES: dict[str, tuple[Rates, float]] = {
    "normal": (lambda g, shape: g.normal(2, 1, shape), 2.0),
    "exponential": (lambda g, shape: g.exponential(1, shape), 1.0),
    "lognormal": (lambda g, shape: g.lognormal(0, 0.7, shape), math.exp(0.245)),
}


def line(name: str, truth: float, low: Any, high: Any, width: float, covered: float) -> dict[str, Any]:
    """One line of a table, and what is wrong with it."""
    slack = 1e-9
    above, below = float((low > truth + slack).mean()), float((high < truth - slack).mean())
    coverage, edge = 1 - above - below, min(truth, 1 - truth) <= 0.002
    error = 3 * math.sqrt(0.07 * 0.93 / len(low))
    ratio = float((high - low).mean()) / width
    faults = []
    if coverage < 0.93 - error or (coverage > 0.98 + error * 0.55 and not edge):
        faults.append("coverage")
    if covered >= 0.93 and ratio > 1.15 and not edge:
        faults.append("width")
    print(
        f"{name:28} {truth:7.4f} {coverage:7.1%} {above:6.1%} {below:6.1%} {ratio:7.2f} {covered:8.1%}  {' '.join(faults)}",
        flush=True,
    )
    return {
        "cell": name, "truth": truth, "coverage": coverage, "above": above, "below": below, "width_ratio": ratio,
        "bootstrap_coverage": covered, "faults": faults,
    }  # fmt: skip


def shares(generator: np.random.Generator, runs: int, boots: int) -> list[dict[str, Any]]:
    found = []
    for name, rates in POPULATIONS.items():
        for n, k in SAMPLES:
            table = np.array([1 - math.comb(n - c, k) / math.comb(n, k) for c in range(n + 1)])
            truth = float(np.mean([(1 - (1 - rates(generator, 2_000_000)) ** k).mean() for _ in range(3)]))
            for problems in PROBLEMS:
                counts = generator.binomial(n, rates(generator, (runs, problems)))
                values = table[counts]
                low, high = share_limits(values.mean(1), values.var(1), problems)
                width, covered = percentile(generator, counts[:boots], table, truth)
                found.append(line(f"{name}, {problems}, n {n}, k {k}", truth, low, high, width, covered))
    return found


def percentile(generator: np.random.Generator, counts: Any, table: Any, truth: float) -> tuple[float, float]:
    """Mean width and coverage of the percentile bootstrap: resampling problems is a multinomial draw of their counts."""
    widths, covered = [], 0
    for run in counts:
        share = np.bincount(run, minlength=len(table)) / len(run)
        means = np.sort(generator.multinomial(len(run), share, 1000) @ table / len(run))
        low, high = means[24], means[975]
        widths.append(high - low)
        covered += low <= truth + 1e-9 and truth - 1e-9 <= high
    return max(float(np.mean(widths)), 1e-12), covered / len(counts)


def means(generator: np.random.Generator, runs: int) -> list[dict[str, Any]]:
    found = []
    for name, (draw, truth) in VALUES.items():
        for problems in PROBLEMS[:3]:
            rows = draw(generator, (runs, problems))
            intervals = [one for row in rows if (one := bootstrap_t(row))]
            low, high = np.array([i.low for i in intervals]), np.array([i.high for i in intervals])
            boots = [np.sort(r[generator.integers(0, problems, (400, problems))].mean(1))[[9, 390]] for r in rows[:200]]
            width = float(np.mean([b[1] - b[0] for b in boots]))
            covered = float(np.mean([b[0] <= truth <= b[1] for b in boots]))
            found.append(line(f"{name}, {problems}", truth, low, high, width, covered))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="400 runs a line instead of 4,000")
    parser.add_argument("--json", type=Path, help="write the lines there, too")
    options = parser.parse_args()
    generator = np.random.default_rng(20261128)
    print(f"{'shares':28} {'truth':>7} {'covers':>7} {'above':>6} {'below':>6} {'× boot.':>7} {'boot.':>8}")
    found = shares(generator, 400 if options.quick else 4000, 60 if options.quick else 400)
    print(f"{'means of other values':28}")
    found += means(generator, 100 if options.quick else 500)
    values = generator.random(974 * 20).reshape(974, 20).mean(1)
    for share in (True, False):
        started = time.perf_counter()
        interval = mean_interval(values, share=share)
        assert interval is not None
        print(f"974 problems: {interval.method} takes {(time.perf_counter() - started) * 1000:.1f} ms")
    return beyond_limits(found, [f["cell"] for f in found if f["faults"]], "lines", options.json)


if __name__ == "__main__":
    sys.exit(main())
