"""Token weights and the weighted loss beside the naive ways.

    python benchmarks/weighting.py

Normalisation of [64, 4096] against clip-and-rescale (which keeps neither bound nor mean), and the lean loss against the
plain one at a vocabulary of 32,000 with 4 heads: median processor time of interleaved rounds (wall time says what else runs
on the machine), and each path's peak memory above its inputs, measured in a process of its own. Exit status 1 where a limit is
missed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from wmtp.weighting import lean_mtp_loss, normalize_weights, weighted_mtp_loss

ROUNDS = 5
LIMITS = {"time": 1.0, "peak": 0.30}
HEADS, BATCH, LENGTH, HIDDEN, VOCABULARY = 4, 2, 512, 256, 32_000


def naive(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    z = (scores - scores.mean(-1, keepdim=True)) / scores.std(-1, keepdim=True)
    weights = torch.softmax(z / 0.7, -1) * scores.shape[-1]
    weights = weights.clamp(0.05, 3.0)
    return weights / weights.mean(-1, keepdim=True) * mask


def medians(*functions: Callable[[], object]) -> list[float]:
    """Median processor seconds of each, in interleaved rounds after one warm-up."""
    times: list[list[float]] = [[] for _ in functions]
    for number in range(ROUNDS + 1):
        for found, function in zip(times, functions, strict=True):
            started = time.process_time()
            function()
            if number:
                found.append(time.process_time() - started)
    return [statistics.median(found) for found in times]


def losses() -> tuple[Callable[[], object], Callable[[], object]]:
    torch.manual_seed(0)
    out = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
    states = torch.randn(HEADS, BATCH, LENGTH, HIDDEN, requires_grad=True)
    ids, ones = torch.randint(VOCABULARY, (BATCH, LENGTH)), torch.ones(BATCH, LENGTH)

    def plain() -> None:
        out.weight.grad = states.grad = None
        weighted_mtp_loss([out(s) for s in states], ids, ones, ones).backward()

    def lean() -> None:
        out.weight.grad = states.grad = None
        lean_mtp_loss(states, out, [out.weight], ids, ones, ones).backward()

    return plain, lean


def peak(which: str) -> float:
    """MiB above what the inputs took, in a fresh process."""
    done = subprocess.run([sys.executable, __file__, which], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def memory(field: str) -> float:
    """MiB of this process, from /proc. (ru_maxrss would count the parent's peak, too.)"""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def main() -> int:
    scores, mask = torch.randn(64, 4096), torch.ones(64, 4096)
    ours, theirs = medians(lambda: normalize_weights(scores, mask), lambda: naive(scores, mask))
    print(
        f"normalisation [64, 4096]: {1e3 * ours:.1f} ms, clip-and-rescale {1e3 * theirs:.1f} ms, ratio {ours / theirs:.2f}"
    )
    plain, lean = losses()
    slow, fast = medians(plain, lean)
    print(f"loss, forward and backward: lean {1e3 * fast:.0f} ms, plain {1e3 * slow:.0f} ms, ratio {fast / slow:.3f}")
    ours, theirs = peak("lean"), peak("plain")
    print(f"loss, peak memory: lean {ours:.0f} MiB, plain {theirs:.0f} MiB, ratio {ours / theirs:.3f}")
    missed = [name for name, ratio in (("time", fast / slow), ("peak", ours / theirs)) if ratio > LIMITS[name]]
    for name in missed:
        print(f"loss, {name}: MISSED, at most {LIMITS[name]}")
    return int(bool(missed))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        functions = dict(zip(("plain", "lean"), losses(), strict=True))
        torch.randn(64, 64) @ torch.randn(64, 64)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts from here
        before = memory("VmRSS")
        functions[sys.argv[1]]()
        print(json.dumps(memory("VmHWM") - before))
    else:
        sys.exit(main())
