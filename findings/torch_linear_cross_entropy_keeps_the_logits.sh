#!/usr/bin/env bash
# torch: `linear_cross_entropy` as it is called in the first line of its page makes the logits all the same.
#
# Versions: torch 2.13.0 (CPU).
# Seen: 512 positions, a vocabulary of 32,000: peak memory of forward and backward is that of linear + cross_entropy, 188 MiB, three
#   times the logits. Only with `options=LinearCrossEntropyOptions()` does it go by chunks: 16 MiB, and some four times the CPU time here
#   (not asserted).
# Why it matters: the function looks like a fused loss that never holds a row of the vocabulary, and saves nothing until it is asked to.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'torch==2.13.0' 'numpy==2.3.5'
cd "$work"
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" OMP_NUM_THREADS=1
venv/bin/python - <<'P' 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
import sys

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

torch.manual_seed(0)
positions, width, vocabulary = 512, 64, 32_000
hidden = torch.randn(positions, width, requires_grad=True)
head = torch.randn(vocabulary, width, requires_grad=True)
target = torch.randint(0, vocabulary, (positions,))
Options = getattr(F, "LinearCrossEntropyOptions", None) or torch.nn.LinearCrossEntropyOptions


def peak(loss):
    """MiB that forward and backward hold at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        loss().backward()
    held = most = 0
    for event in sorted((e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most / 2**20


plain = peak(lambda: F.cross_entropy(F.linear(hidden, head), target))
called = peak(lambda: F.linear_cross_entropy(hidden, head, target))
asked = peak(lambda: F.linear_cross_entropy(hidden, head, target, options=Options()))
print("torch", torch.__version__)
print(f"linear + cross_entropy {plain:.0f} MiB, linear_cross_entropy {called:.0f} MiB, with options {asked:.0f} MiB; logits {positions * vocabulary * 4 / 2**20:.0f}")
sys.exit(0 if abs(called - plain) < 0.05 * plain and asked < plain / 4 else 1)
P
