"""Does a comparison of two runs keep its promises? Simulated.

    python benchmarks/compare.py [--quick] [--json FILE]

* **size**: A/A comparisons, by problems, samples and pass rates: the share of p-values ≤ 0.05 (limits 0.045 to 0.055; with one
  sample and fewer than 100 discordant problems never above 0.055), and a Kolmogorov-Smirnov test of p-values made continuous
  by adding a random share of the observation's own probability (limit fixed beforehand: 0.001, the number of cells being 36).
* **coverage** of the difference's interval: 94 to 96 %.
* **until decided**, by the batches and looks of ``wmtp eval --until-decided``: A/A pairs (limit 5 % found better or worse), a
  gain of the very size that is looked for (limit 5 % found equivalent), and 5 points at 500 problems: samples drawn beside a
  fixed design of equal power (limit 0.6).
* **speed**: 974 problems, 20 samples, two runs, no two programs alike: `wmtp.compare` beside reading both runs' lines by plain
  `json` (limits: 2 s, 3 times, 300 MiB), and the page (limit 5 s).
* **coupling**: shared noise against independent noise, 0.6 of samples coupled: variance of the difference, and size.

10,000 comparisons a cell, with --quick 500. Exit status 1 where a cell misses its limit by more than three standard errors.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from closing import beyond_limits

from wmtp.comparison.compare import compare
from wmtp.contracts.evaluation import MetricValue
from wmtp.contracts.runs import RunInfo, RunRecord
from wmtp.evaluation.until_decided import UntilDecided
from wmtp.reports.html import write_report
from wmtp.runs.record import to_json
from wmtp.statistics.paired import PassCounts, compare_passes, difference_limits
from wmtp.statistics.permutation import moved_between_runs, tails

PARTS = ("speed", "until-decided", "coverage", "coupling", "size")
PROBLEMS, SAMPLES = (164, 500, 974), (1, 4, 16)
Rates = Callable[[np.random.Generator, int], Any]
RATES: dict[str, Rates] = {
    "5 %": lambda g, size: np.full(size, 0.05),
    "50 %": lambda g, size: np.full(size, 0.5),
    "95 %": lambda g, size: np.full(size, 0.95),
    "5 to 95 %": lambda g, size: g.uniform(0.05, 0.95, size),
}


def kolmogorov(p_values: Any) -> float:
    """The Kolmogorov-Smirnov test of uniformity: its asymptotic p-value."""
    ordered, size = np.sort(p_values), len(p_values)
    steps = np.arange(size + 1) / size
    distance = max(float((steps[1:] - ordered).max()), float((ordered - steps[:-1]).max()))
    x = distance * (math.sqrt(size) + 0.12 + 0.11 / math.sqrt(size))
    return float(min(1.0, max(0.0, 2 * sum((-1) ** (j - 1) * math.exp(-2 * j * j * x * x) for j in range(1, 101)))))


def size(generator: np.random.Generator, runs: int, only: str = "") -> list[dict[str, Any]]:
    found = []
    print(f"{'A/A':34} {'≤ 0.05':>8} {'KS':>7}")
    for problems in PROBLEMS:
        for n in SAMPLES:
            table = tuple(range(n + 1))
            for name, rates in RATES.items():
                if only not in f"{problems} {n} {name}":
                    continue
                rejected, uniform, discordant = 0, np.empty(runs), 0
                for i in range(runs):
                    p = rates(generator, problems)
                    a, b = generator.binomial(n, p), generator.binomial(n, p)
                    groups: dict[Any, int] = {}
                    for passed, count in enumerate(np.bincount(a + b, minlength=2 * n + 1).tolist()):
                        if count:
                            key = moved_between_runs(n, n, passed, table, table)
                            groups[key] = groups.get(key, 0) + count
                    null = tails(groups, int(b.sum() - a.sum()))
                    rejected += null.p_value <= 0.05
                    discordant += int((a != b).sum())
                    u = (
                        generator.random()
                    )  # the two tails share the atom at random: continuous, and uniform if the tails are right
                    uniform[i] = null.less + u * null.equal
                share, ks = rejected / runs, kolmogorov(np.clip(uniform, 0, 1))
                error = 3 * math.sqrt(0.05 * 0.95 / runs)
                few = n == 1 and discordant / runs < 100
                wrong = share > 0.055 + error or (share < 0.045 - error and not few) or ks < 0.001
                print(
                    f"{problems} problems, n {n}, {name:12} {share:10.4f} {ks:7.3f}  {'beyond' if wrong else ''}",
                    flush=True,
                )
                found.append({"cell": f"size {problems} {n} {name}", "value": share, "ks": ks, "wrong": wrong})
    return found


def differences(generator: np.random.Generator, name: str, runs: int, problems: int) -> tuple[Any, float]:
    """Differences of so many runs' problems, and their true mean."""
    if name.startswith("one way"):
        share = float(name.split()[2]) / 100
        return (generator.random((runs, problems)) < share) * 1.0, share
    if name.startswith("flips"):
        up, down = (float(x) / 100 for x in name.split()[1:3])
        u = generator.random((runs, problems))
        return (u < up) * 1.0 - ((u >= up) & (u < up + down)), up - down
    _, n, alpha, beta = (float(x) if i else 0.0 for i, x in enumerate(name.split()))
    gain, share = 0.3, 0.1

    def pair(shape: Any) -> tuple[Any, Any]:
        p = generator.beta(alpha, beta, shape)
        return p, np.where(generator.random(shape) < share, np.minimum(1, p + gain), p)

    p, better = pair((runs, problems))
    big = pair(8_000_000)
    return (generator.binomial(int(n), better) - generator.binomial(int(n), p)) / n, float((big[1] - big[0]).mean())


def coverage(generator: np.random.Generator, runs: int) -> list[dict[str, Any]]:
    found = []
    print(f"{'difference, its interval':34} {'covers':>8} {'above':>7} {'below':>7}")
    names = ["one way 3", "one way 5", "flips 3 1", "flips 3 3", "flips 10 10"]
    names += [f"beta {n} {a} {b}" for n in (1, 4, 16) for a, b in ((0.2, 0.2), (0.25, 4), (9, 1), (1, 1))]
    for problems in (164, 500):
        for name in names:
            d, truth = differences(generator, name, runs, problems)
            low, high = difference_limits(d)
            above, below = float((low > truth + 1e-9).mean()), float((high < truth - 1e-9).mean())
            covers, error = 1 - above - below, 3 * math.sqrt(0.05 * 0.95 / runs)
            wrong = not 0.94 - error <= covers <= 0.96 + error
            print(
                f"{problems} problems, {name:20} {covers:10.4f} {above:7.4f} {below:7.4f}  {'beyond' if wrong else ''}",
                flush=True,
            )
            found.append({"cell": f"coverage {problems} {name}", "value": covers, "wrong": wrong})
    return found


def coupling(generator: np.random.Generator, runs: int) -> list[dict[str, Any]]:
    problems, n = 164, 8
    p, sizes = generator.beta(1, 1, problems), np.full(problems, n)
    rejected, apart, together = 0, [], []
    for _ in range(runs):
        common, own = generator.random((problems, n)), generator.random((2, problems, n))
        shared = generator.random((problems, n)) < 0.6
        a, b = (np.where(shared, common, other) < p[:, None] for other in own)
        found = compare_passes(PassCounts(n_a=sizes, c_a=a.sum(1), n_b=sizes, c_b=b.sum(1), both=(a & b).sum(1)), 1)
        rejected += found.p_value <= 0.05
        together.append(found.difference)
        free = generator.random((2, problems, n)) < p[:, None]
        apart.append(float((free[1].mean(1) - free[0].mean(1)).mean()))
    share, saved = rejected / runs, 1 - float(np.var(together) / np.var(apart))
    print(f"shared noise in 6 of 10 samples: variance saved {saved:.1%}; A/A rejections {share:.4f}")
    wrong = abs(share - 0.05) > 0.005 + 3 * math.sqrt(0.05 * 0.95 / runs)
    return [
        {"cell": "coupling size", "value": share, "wrong": wrong},
        {"cell": "coupling saved", "value": saved, "wrong": saved < 0.3},
    ]


class Simulated(UntilDecided):
    """The tool's own order of samples, looks and decisions, against outcomes that are at hand instead of a run folder."""

    def __init__(self, theirs: Any, difference: float) -> None:
        self._theirs = {str(p): dict(enumerate(of)) for p, of in enumerate(theirs.tolist())}
        self._difference, self._first, self.most = difference, 1, theirs.shape[1]

    def _check(self, rows: Any, prompts: Any) -> None:
        """Nothing differs."""

    def samples(self, ours: Any) -> int:
        """Sample until it is decided. Returns how many were drawn."""
        passed: dict[tuple[str, int], bool] = {}
        for batch in self.batches(rows=dict.fromkeys(self._theirs, ""), prompts={}, passed=passed):
            passed.update({(p, i): bool(ours[int(p), i]) for p, i in batch})
        return len(passed)


def until_decided(generator: np.random.Generator, runs: int) -> list[dict[str, Any]]:
    def one(p: Any, q: Any, rounds: int, looked_for: float = 0.05) -> tuple[str, int]:
        theirs, ours = (generator.random((len(r), rounds)) < r[:, None] for r in (p, q))
        run = Simulated(theirs, looked_for)
        used = run.samples(ours)
        assert run.bet is not None
        return run.bet.decision, used

    def told(found: list[tuple[str, int]]) -> dict[str, float]:
        return {d or "none": sum(f[0] == d for f in found) / len(found) for d in ("better", "worse", "equivalent", "")}

    alike = [one(p, p, 40) for p in (generator.random(200) for _ in range(runs))]
    looked = [one(p, p, 60, 0.02) for p in (generator.random(200) for _ in range(runs // 4))]
    edge = [one(p, p + 0.05, 40) for p in (generator.random(200) * 0.95 for _ in range(runs // 4))]
    found = [one(p, p + 0.05, 12) for p in (generator.random(500) * 0.9 for _ in range(max(50, runs // 5)))]
    power = min(0.99, told(found)["better"])
    big = generator.random(1_000_000) * 0.9
    variance = float((big * (1 - big) + (big + 0.05) * (0.95 - big)).mean())
    fixed = (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)) ** 2 * variance / 0.05**2
    ratio = sum(used for _, used in found) / len(found) / fixed
    print(f"until decided, {runs} A/A pairs of 200 problems, looking for 5 points: {told(alike)}")
    print(f"  looking for 2 points, {len(looked)}: {told(looked)}; a true gain of 5 points, looked for: {told(edge)}")
    print(f"  5 points at 500 problems, {len(found)} runs: {ratio:.2f} of a fixed design's samples (power {power:.3f})")
    false = max(told(f)["better"] + told(f)["worse"] for f in (alike, looked))
    slack = 3 * math.sqrt(0.05 * 0.95 / len(edge))
    return [
        {"cell": "until decided, false", "value": false, "wrong": false > 0.05},
        {
            "cell": "until decided, falsely equivalent or worse",
            "value": told(edge)["equivalent"] + told(edge)["worse"],
            "wrong": told(edge)["equivalent"] > 0.05 + slack,
        },
        {"cell": "until decided, samples", "value": ratio, "wrong": ratio > 0.6},
    ]


def speed() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        runs = [_run(Path(folder) / name, rate) for name, rate in (("a", 0.5), ("b", 0.55))]
        plain, ours = [], []
        for _ in range(3):
            started = time.perf_counter()
            for run in runs:
                for path in (*run.glob("samples/*"), *run.glob("verdicts/*")):
                    with path.open("rb") as lines:
                        for text in lines:
                            json.loads(text)
            plain.append(time.perf_counter() - started)
            started = time.perf_counter()
            compare(runs)
            ours.append(time.perf_counter() - started)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        page = write_report(runs, Path(folder) / "page.html").stat().st_size
        html = time.perf_counter() - started
    ratio = min(ours) / min(plain)
    print(f"  peak of this process {peak:.0f} MiB; the page takes {html:.1f} s and has {page / 1e6:.1f} MB")
    print(
        f"974 problems × 20 samples × 2 runs: compare {min(ours):.2f} s (limit 2), {ratio:.2f} times plain json (limit 3)"
    )
    return [
        {"cell": "speed", "value": ratio, "wrong": ratio > 3 or min(ours) > 2},
        {"cell": "memory", "value": peak, "wrong": peak > 300},
        {"cell": "page", "value": html, "wrong": html > 5},
    ]


def _run(folder: Path, rate: float) -> Path:
    dice = random.Random(rate)
    for kind in ("samples", "verdicts"):
        (folder / kind).mkdir(parents=True)
    keys = [(f"{p}", i) for p in range(974) for i in range(20)]
    with (folder / "samples" / "toy.jsonl").open("w") as lines:
        for p, i in keys:
            code = "def f(x):\n" + "".join(f"    x = x + {dice.randrange(1000)}  # one more\n" for _ in range(40))
            lines.write(
                json.dumps({"problem": p, "index": i, "completion": code, "code": code, "prompt_sha256": "p"}) + "\n"
            )
    right = 0
    with (folder / "verdicts" / "toy.jsonl").open("w") as lines:
        for p, i in keys:
            ok = dice.random() < rate
            right += ok
            row = {"problem": p, "index": i, "status": "passed" if ok else "failed", "passed": ok, "judge_key": "k"}
            lines.write(json.dumps({**row, "detail": "", "cpu_seconds": 0.01, "wall_seconds": 0.01}) + "\n")
    share = right / len(keys)
    metric = MetricValue(value=share, low=share, high=share, problems=974, samples=len(keys))
    record = RunRecord(run=RunInfo(name=folder.name), metrics={"toy_pass@1": metric})
    (folder / "results.json").write_text(json.dumps(to_json(record)))
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 comparisons a cell instead of 10,000")
    parser.add_argument("--json", type=Path, help="write the cells there, too")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be repeated")
    parser.add_argument(
        "--cell", metavar="TEXT", default="", help="of size: cells whose name contains this, e.g. '164 1 5 %%'"
    )
    parser.add_argument("--runs", type=int, help="comparisons a cell")
    options = parser.parse_args()
    runs, generator = options.runs or (500 if options.quick else 10_000), np.random.default_rng(20261128)
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "speed": speed,
        "until-decided": lambda: until_decided(generator, min(runs, 2000)),
        "coverage": lambda: coverage(generator, runs),
        "coupling": lambda: coupling(generator, min(runs, 3000)),
        "size": lambda: size(generator, runs, options.cell),
    }
    found = [cell for name in options.only or PARTS for cell in parts[name]()]
    return beyond_limits(found, [f["cell"] for f in found if f["wrong"]], "cells", options.json)


if __name__ == "__main__":
    sys.exit(main())
