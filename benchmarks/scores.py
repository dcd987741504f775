"""Does the interval of a difference of scores cover? Simulated, beside other methods.

    python benchmarks/scores.py [--quick] [--json FILE]

Scores are values between 0 and 1 that are no outcomes: F1, ROUGE, BLEU, a share of tests passed. Of every kind of score, two
runs are drawn on the same problems, correlated by a normal copula (0, 0.5, 0.95). Further lines draw the differences
themselves: a few problems that gain, and no other; a few that differ either way; all that gain a little; small noise with large
differences on 2 %.

Printed for each: how many problems differ, and of six methods the coverage of the 95 % interval and its mean width beside
Student's. `ours` is `score_limits`, `shares` the interval of outcomes (`difference_limits`), which such scores had before; the
bootstraps are run on fewer comparisons. Limits: ours covers 93 % or more; where 20 problems or more differ it is at most 1.3
times as wide as the narrowest other one that covers 93 %. `unseen` lines have no limit: where hardly one of the large
differences is in the sample, nothing that was seen tells of them.

A second table is the size: A/A comparisons, share of sign-flip p-values ≤ 0.05 (limit 0.055; 0.045 where 20 problems or more
differ).

4,000 comparisons a line (400 for the bootstraps, 1,000 for the size). Exit status 1 where a line misses its limit by more than
three standard errors.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from closing import beyond_limits

from wmtp.statistics.paired import compare_values, difference_limits, score_limits
from wmtp.statistics.quantiles import student_quantile

PROBLEMS = (24, 164, 500, 974)
CORRELATIONS = (0.0, 0.5, 0.95)
NORMAL = NormalDist()
GRID = np.linspace(-8, 8, 20_001)
BELOW = np.array([NORMAL.cdf(x) for x in GRID])
Limits = tuple[Any, Any]
Draw = Callable[[np.random.Generator, Any], Any]


def _f1(g: np.random.Generator, size: Any) -> Any:
    kind = g.random(size)
    return np.where(kind < 0.4, 0.0, np.where(kind < 0.6, 1.0, g.beta(2, 2, size)))


def _tests(g: np.random.Generator, size: Any) -> Any:
    """Shares of 3 to 10 tests."""
    tests = g.integers(3, 11, size)
    return g.binomial(tests, g.beta(0.3, 0.5, size)) / tests


SCORES: dict[str, Draw] = {
    "u-shaped": lambda g, size: g.beta(0.3, 0.3, size),
    "nearly constant": lambda g, size: g.beta(200, 100, size),
    "mostly zero": lambda g, size: np.where(g.random(size) < 0.9, 0.0, g.random(size)),
    "rare and small": lambda g, size: np.where(g.random(size) < 0.97, 0.0, g.beta(1, 8, size)),
    "f1": _f1,
    "bleu": lambda g, size: g.beta(1.5, 6, size),
    "tests passed": _tests,
}
DIFFERENCES: dict[str, Draw] = {
    "3 % gain": lambda g, size: (g.random(size) < 0.03) * 0.3 * g.random(size),
    "10 % gain": lambda g, size: (g.random(size) < 0.1) * 0.3 * g.random(size),
    "3 % gain, skew": lambda g, size: (g.random(size) < 0.03) * g.beta(1, 9, size),
    "30 % gain, skew": lambda g, size: (g.random(size) < 0.3) * g.beta(1, 9, size),
    "3 % differ": lambda g, size: (g.random(size) < 0.03) * (g.beta(0.5, 0.5, size) - g.beta(0.5, 0.5, size)),
    "10 % differ": lambda g, size: (g.random(size) < 0.1) * (g.beta(0.5, 0.5, size) - g.beta(0.5, 0.5, size)),
    "all gain a little": lambda g, size: g.normal(0.02, 0.01, size),
    "unseen: 2 % large": lambda g, size: np.where(g.random(size) < 0.02, g.random(size), g.normal(0, 0.01, size)),
}


def correlated(g: np.random.Generator, draw: Draw, size: Any, correlation: float) -> tuple[Any, Any]:
    """Two runs' scores: each as `draw` gives them, joined by a normal copula."""
    ordered = np.sort(draw(g, 200_001))
    first, own = g.normal(size=size), g.normal(size=size)
    second = correlation * first + math.sqrt(1 - correlation**2) * own
    low, high = (ordered[(np.interp(x, GRID, BELOW) * (len(ordered) - 1)).round().astype(int)] for x in (first, second))
    return low, high


def student(d: Any) -> Limits:
    problems, middle = d.shape[1], d.mean(1)
    half = student_quantile(0.975, problems - 1) * d.std(1, ddof=1) / math.sqrt(problems)
    return middle - half, middle + half


def bootstraps(g: np.random.Generator, d: Any, resamples: int = 999) -> dict[str, Limits]:
    """The percentile, BCa and studentised bootstrap (Efron and Tibshirani 1993), of the same resamples."""
    found: dict[str, list[tuple[float, float]]] = {"percentile": [], "bca": [], "boot-t": []}
    for row in d:
        problems, middle, error = len(row), row.mean(), row.std(ddof=1) / math.sqrt(len(row))
        if error == 0:
            for of in found.values():
                of.append((middle, middle))
            continue
        drawn = row[g.integers(0, problems, (resamples, problems))]
        means = drawn.mean(1)
        with np.errstate(all="ignore"):
            errors = drawn.std(1, ddof=1) / math.sqrt(problems)
            ratios = np.sort(np.where(errors > 0, (means - middle) / errors, np.sign(means - middle) * np.inf))
        most = 10 * student_quantile(0.975, problems - 1)
        found["boot-t"].append((middle - error * min(ratios[974], most), middle - error * max(ratios[24], -most)))
        ordered = np.sort(means)
        found["percentile"].append((ordered[24], ordered[974]))
        centred = row - middle
        skew = float((centred**3).sum() / (6 * (centred**2).sum() ** 1.5))
        below = float(np.clip((means < middle).mean() + (means == middle).mean() / 2, 1 / resamples, 1 - 1 / resamples))
        shift = NORMAL.inv_cdf(below)
        places = []
        for z in (-1.96, 1.96):
            share = NORMAL.cdf(shift + (shift + z) / (1 - skew * (shift + z)))
            places.append(ordered[min(resamples - 1, int(share * resamples))])
        found["bca"].append((places[0], places[1]))
    return {name: tuple(np.array(of).T) for name, of in found.items()}  # type: ignore[misc]


def line(g: np.random.Generator, name: str, d: Any, truth: float, boots: int) -> dict[str, Any]:
    """One line of the table, and what is wrong with it."""
    methods = {"ours": score_limits(d), "student": student(d), "shares": difference_limits(d)}
    methods |= bootstraps(g, d[:boots])
    covers = {m: float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean()) for m, (low, high) in methods.items()}
    widths = {m: float((high - low).mean()) for m, (low, high) in methods.items()}
    unit, differ = widths["student"], float((d != 0).sum(1).mean())
    slack = {m: 3 * math.sqrt(0.07 * 0.93 / len(low)) for m, (low, _) in methods.items()}
    faults = []
    if "unseen" not in name:
        if covers["ours"] < 0.93 - slack["ours"]:
            faults.append("coverage")
        others = [widths[m] for m in methods if m != "ours" and covers[m] >= 0.93]
        if differ >= 20 and others and widths["ours"] > 1.3 * min(others):
            faults.append("width")
    told = "  ".join(f"{100 * covers[m]:5.1f} {widths[m] / unit:5.2f}" for m in methods)
    print(f"{name:32} {differ:6.1f}  {told}  {' '.join(faults)}", flush=True)
    return {"cell": name, "differ": differ, "coverage": covers, "width": widths, "wrong": bool(faults)}


def coverage(g: np.random.Generator, runs: int, boots: int) -> list[dict[str, Any]]:
    names = ("ours", "student", "shares", "percentile", "bca", "boot-t")
    print(f"{'covers, × student':32} {'differ':>6}  " + "  ".join(f"{name:>11}" for name in names))
    found = []
    for problems in PROBLEMS:
        for name, draw in SCORES.items():
            for correlation in CORRELATIONS:
                a, b = correlated(g, draw, (runs, problems), correlation)
                found.append(line(g, f"{problems}, {name}, {correlation:g}", b - a, 0.0, boots))
        for name, draw in DIFFERENCES.items():
            truth = float(draw(g, 8_000_000).mean())
            found.append(line(g, f"{problems}, {name}", draw(g, (runs, problems)), truth, boots))
    return found


def size(g: np.random.Generator, runs: int) -> list[dict[str, Any]]:
    print(f"{'A/A':32} {'≤ 0.05':>8}")
    found = []
    for problems in PROBLEMS[:2]:
        for name, draw in SCORES.items():
            for correlation in CORRELATIONS[::2]:
                a, b = correlated(g, draw, (runs, problems), correlation)
                share = float(
                    np.mean([compare_values(x, y, share=True).p_value <= 0.05 for x, y in zip(a, b, strict=True)])
                )
                error = 3 * math.sqrt(0.05 * 0.95 / runs)
                few = float((a != b).sum(1).mean()) < 20
                wrong = share > 0.055 + error or (share < 0.045 - error and not few)
                print(
                    f"{f'{problems}, {name}, {correlation:g}':32} {share:8.4f}  {'beyond' if wrong else ''}", flush=True
                )
                found.append({"cell": f"size {problems}, {name}, {correlation:g}", "value": share, "wrong": wrong})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the comparisons")
    parser.add_argument("--json", type=Path, help="write the lines there, too")
    options = parser.parse_args()
    part, g = 10 if options.quick else 1, np.random.default_rng(20261128)
    found = [*coverage(g, 4000 // part, 400 // part), *size(g, 1000 // part)]
    return beyond_limits(found, [f["cell"] for f in found if f["wrong"]], "lines", options.json)


if __name__ == "__main__":
    sys.exit(main())
