#!/usr/bin/env bash
# transformers: `from_pretrained(dtype=torch.bfloat16)` and `from_pretrained().to(torch.bfloat16)` are two different models.
#
# Versions: transformers 5.23.0, torch 2.13.0 (CPU).
# Seen: a Llama loaded in bfloat16 keeps the rotary frequencies in float32; `.to(torch.bfloat16)` rounds that buffer as well. Weights
#   are equal bit for bit, logits are not, and the difference grows with the position.
# Why it matters: an evaluation in half precision depends on which of two usual lines loaded the model; scores of long prompts differ
#   although all weights are equal.
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
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
LlamaForCausalLM(LlamaConfig(vocab_size=64, max_position_embeddings=4096, initializer_range=0.2, **sizes)).save_pretrained("folder")
loaded = LlamaForCausalLM.from_pretrained("folder", dtype=torch.bfloat16).eval()
moved = LlamaForCausalLM.from_pretrained("folder", dtype=torch.float32).to(torch.bfloat16).eval()
ids = torch.randint(3, 64, (1, 2048))
with torch.no_grad():
    apart = (loaded(ids).logits.float() - moved(ids).logits.float()).abs().amax(-1)[0]
same = all(torch.equal(a, b) for a, b in zip(loaded.parameters(), moved.parameters(), strict=True))
print("transformers", transformers.__version__, "torch", torch.__version__)
print("weights equal:", same, "| frequencies:", loaded.model.rotary_emb.inv_freq.dtype, moved.model.rotary_emb.inv_freq.dtype)
print(f"logits apart by {apart[:8].max():.3f} in the first 8 positions, by {apart[-256:].max():.3f} in the last 256")
sys.exit(0 if same and apart[-256:].max() > 4 * apart[:8].max() and apart[-256:].max() > 0.1 else 1)
P
