"""Does one seed for two checkpoints save samples? Measured on two checkpoints of the demo model's training.

    python examples/train_demo_model.py --out /tmp/demo --also-at 225          # eight minutes: half way, and the end
    python benchmarks/coupling.py /tmp/demo-225 /tmp/demo [--runs FOLDER] [--json FILE]

Both answer the demo's twelve learnt problems 200 times at temperature 1.2, top-p 1. A repetition is one sample of each problem,
so its difference of pass@1 is what two runs with n = 1 see. The end's answers are drawn under the half-way checkpoint's seed,
and under another one. Printed, with limits:

* the variance of the difference over repetitions with the seed shared, beside that with seeds independent: it falls by 30 %;
* size under coupling, 2,000 comparisons of 12 problems and 8 samples: pairs of outcomes are drawn from those measured under one
  seed, and each changes sides at random, which makes the two runs alike and leaves them as coupled as they are: at most 0.055
  rejected at 0.05, and three standard errors.

Three runs of 2,400 samples; a quarter of an hour on two cores. With --runs they are kept, and a second call goes on with them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from wmtp import open_run
from wmtp.config import load_configuration
from wmtp.evaluation.driver import evaluate
from wmtp.plugins import create_plugin_manager
from wmtp.statistics.paired import PassCounts, compare_passes

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PROBLEMS, REPETITIONS, TEMPERATURE = 12, 200, 1.2
CONFIG = "paths: {{datasets: {{mbpp_local: {problems}}}}}\njudging: {{level: auto}}\n"
COMPARISONS, SAMPLES = 2000, 8


def outcomes(model: Path, seed: int, runs: Path) -> Any:
    """Passes of a checkpoint under a seed: [problems, repetitions]."""
    runs.mkdir(parents=True, exist_ok=True)
    config = runs / "config.yaml"
    config.write_text(CONFIG.format(problems=json.dumps(str(EXAMPLES / "demo_problems.jsonl"))), encoding="utf-8")
    name = f"{model.name}-seed{seed}"
    settings = {
        "run.name": name, "model.base_id": str(model), "eval.limit": PROBLEMS, "eval.metrics": ["mbpp_pass@1"],
        "eval.sampling": {"temperature": TEMPERATURE, "n": REPETITIONS, "seed": seed, "max_new_tokens": 160},
        "eval.evaluators": {"mbpp-v1": {"shots": 0}},
    }  # fmt: skip
    files = load_configuration(
        config, None, plugins=create_plugin_manager(), overrides=[f"{k}={json.dumps(v)}" for k, v in settings.items()]
    )
    evaluate(*files, runs=runs)
    passed: dict[str, dict[int, bool]] = {}
    for verdict in open_run(runs / name).verdicts("mbpp-v1"):
        passed.setdefault(verdict.key.problem, {})[verdict.key.index] = verdict.outcome.passed
    return np.array([[passed[p][i] for i in range(REPETITIONS)] for p in sorted(passed)])


def size(generator: np.random.Generator, a: Any, b: Any) -> float:
    """The share of comparisons of two alike, coupled runs whose p-value is 0.05 or less."""
    rejected = 0
    rows = np.arange(PROBLEMS)[:, None]
    for _ in range(COMPARISONS):
        drawn = generator.integers(0, REPETITIONS, (PROBLEMS, SAMPLES))
        swap = generator.random((PROBLEMS, SAMPLES)) < 0.5
        one, other = a[rows, drawn], b[rows, drawn]
        left, right = np.where(swap, other, one), np.where(swap, one, other)
        sizes = np.full(PROBLEMS, SAMPLES)
        counts = PassCounts(
            n_a=sizes, c_a=left.sum(1), n_b=sizes, c_b=right.sum(1), both=(left & right).sum(1)
        )  # fmt: skip
        rejected += compare_passes(counts, 1).p_value <= 0.05
    return rejected / COMPARISONS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", type=Path, help="the checkpoint half way")
    parser.add_argument("end", type=Path, help="the checkpoint at the end")
    parser.add_argument("--runs", type=Path, help="keep the run folders there")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = options.runs or Path(temporary)
        half, shared, other = (
            outcomes(model, seed, runs) for model, seed in ((options.half, 1), (options.end, 1), (options.end, 2))
        )
    together, apart = (np.var(end.mean(0) - half.mean(0), ddof=1) for end in (shared, other))
    saved = 1 - float(together / apart)
    within = [half - half.mean(1, keepdims=True), shared - shared.mean(1, keepdims=True)]
    correlation = float((within[0] * within[1]).sum() / math.sqrt((within[0] ** 2).sum() * (within[1] ** 2).sum()))
    print(f"pass@1 half way {half.mean():.3f}, at the end {shared.mean():.3f} and {other.mean():.3f}")
    print(
        f"variance of the difference, n = 1, {REPETITIONS} repetitions: {together:.5f} shared, {apart:.5f} independent"
    )
    print(f"  it falls by {saved:.1%} (limit 30 %); outcomes of one index correlate by {correlation:.2f}")
    share = size(np.random.default_rng(20261128), half, shared)
    most = 0.055 + 3 * math.sqrt(0.05 * 0.95 / COMPARISONS)
    print(f"alike and coupled: {share:.4f} of {COMPARISONS} comparisons rejected (limit {most:.4f})")
    if options.json:
        found = {"saved": saved, "correlation": correlation, "size": share}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(saved < 0.3 or share > most)


if __name__ == "__main__":
    sys.exit(main())
