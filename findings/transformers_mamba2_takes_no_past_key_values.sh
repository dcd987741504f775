#!/usr/bin/env bash
# transformers: a step of Mamba-2 that is given `past_key_values=` starts from an empty state, without a word.
#
# Versions: transformers 5.23.0, torch 2.13.0 (CPU, no compiled kernels).
# Seen: Mamba2ForCausalLM returns its state as `cache_params` and takes it back under that name alone. `past_key_values=`, the name of
#   every attention model (and of other recurrent ones), goes into the keywords that forward() takes and does not look at: the logits
#   are bit for bit those of a sequence of one token.
# Why it matters: a generation loop that is right for every other family writes nonsense here. Nothing raises, nothing warns.
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
from transformers import Mamba2Config, Mamba2ForCausalLM

torch.manual_seed(0)
sizes = dict(hidden_size=32, num_hidden_layers=2, state_size=8, num_heads=4, head_dim=16, expand=2, n_groups=1)
model = Mamba2ForCausalLM(Mamba2Config(vocab_size=64, **sizes)).eval()
ids = torch.randint(3, 64, (1, 10))
with torch.no_grad():
    whole = model(ids).logits[:, -1]
    alone = model(ids[:, 9:]).logits[:, -1]
    state = model(ids[:, :9], use_cache=True).cache_params
    ignored = model(ids[:, 9:], past_key_values=state, use_cache=True).logits[:, -1]
    taken = model(ids[:, 9:], cache_params=state, use_cache=True).logits[:, -1]
print("transformers", transformers.__version__, "torch", torch.__version__)
print("cache_params=    from the whole text's logits:", f"{(taken - whole).abs().max():.1e}")
print("past_key_values= from the whole text's logits:", f"{(ignored - whole).abs().max():.1e},", "equal to no state:", torch.equal(ignored, alone))
sys.exit(0 if torch.equal(ignored, alone) and (ignored - whole).abs().max() > 0.1 > 1e-4 > (taken - whole).abs().max() else 1)
P
