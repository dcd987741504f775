#!/usr/bin/env bash
# transformers: the cache of Qwen3-Next lets itself be cropped after activate_past_recording(), and the next logits are wrong.
#
# Versions: transformers 5.23.0, torch 2.13.0 (CPU).
# Seen: ten tokens, activate_past_recording(), eight tokens, crop(-4): no error, get_seq_length() says 14. The logits of the next token are
#   those of no prefix of the text: they differ from a whole forward pass by a tenth of the largest logit; the same calls on a Qwen3 (full
#   attention) agree with it to 1e-5.
# Why it matters: rolling back rejected drafts is what the two calls are for; with gated delta layers the text that follows is not the
#   model's, and nothing says so.
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
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3NextConfig

sizes = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1, head_dim=16)
delta = dict(linear_num_value_heads=2, linear_num_key_heads=2, linear_key_head_dim=8, linear_value_head_dim=8)
experts = dict(num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16, shared_expert_intermediate_size=16)
off = {}
print("transformers", transformers.__version__, "torch", torch.__version__)
for config in (Qwen3Config(**sizes), Qwen3NextConfig(**sizes, **delta, **experts)):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    ids = torch.randint(3, 64, (1, 18))
    with torch.no_grad():
        whole = model(ids[:, :15]).logits[0, -1]
        cache = model(ids[:, :10], use_cache=True).past_key_values
        cache.activate_past_recording()
        model(ids[:, 10:], past_key_values=cache, use_cache=True)
        cache.crop(-4)
        length = cache.get_seq_length()
        after = model(ids[:, 14:15], past_key_values=cache, use_cache=True).logits[0, -1]
    off[config.model_type] = ((after - whole).abs().max() / whole.abs().max()).item()
    print(f"{config.model_type}: length after crop {length}, largest difference {off[config.model_type]:.2g} of the largest logit")
sys.exit(0 if off["qwen3"] < 1e-4 and off["qwen3_next"] > 0.02 else 1)
P
