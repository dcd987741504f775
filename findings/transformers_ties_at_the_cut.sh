#!/usr/bin/env bash
# transformers: among equal logits `top_k=1` is no greedy choice, and `top_p` keeps one tied token and drops the other.
#
# Versions: transformers 5.23.0, torch 2.13.0 (CPU).
# Seen: TopKLogitsWarper(1) keeps every token that ties with the best, so `do_sample=True, top_k=1` draws among them: four seeds write
#   more than one text where greedy decoding writes one. TopPLogitsWarper sorts upwards and cuts by the sum, so of two tokens with equal
#   logits at the edge the one with the higher id stays and the lower id is impossible.
# Why it matters: bfloat16 logits tie often (8 bits of mantissa). "top_k=1" as a way of saying greedy does not repeat, and a sampler that
#   keeps both tied tokens, as the definition of the nucleus allows, has another distribution.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'transformers==5.23.0' 'torch==2.13.0'
cd "$work"
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" OMP_NUM_THREADS=1
venv/bin/python - <<'P' 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
import sys

import torch
import transformers
from transformers import TopKLogitsWarper, TopPLogitsWarper

tied = torch.tensor([[2.0, 2.0, 0.0, -1.0]])
first = TopKLogitsWarper(1)(None, tied.clone())
drawn = {torch.multinomial(first.softmax(-1), 1, generator=torch.Generator().manual_seed(seed)).item() for seed in range(40)}
edge = torch.tensor([[0.0, 0.0, 0.0, 3.0]])  # 3 is sure of 0.87; three tie for what is missing to 0.9
nucleus = TopPLogitsWarper(0.9)(None, edge.clone())[0].isfinite().tolist()
print("transformers", transformers.__version__, "torch", torch.__version__)
print("top_k=1 of", tied.tolist(), "keeps", first.isfinite().sum().item(), "and draws", sorted(drawn), "| argmax", tied.argmax().item())
print("top_p=0.9 of", edge.tolist(), "keeps", nucleus)
sys.exit(0 if drawn == {0, 1} and nucleus == [False, False, True, True] else 1)
P
