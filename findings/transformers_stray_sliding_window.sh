#!/usr/bin/env bash
# transformers: a `sliding_window` in the config.json of a Llama changes what `generate` writes and not what the model computes.
#
# Versions: transformers 5.23.0, torch 2.13.0 (CPU).
# Seen: LlamaForCausalLM reads no window, so a whole forward pass attends to everything. The cache that `generate` makes looks into
#   the configuration for itself, finds the key and drops what is behind the window: greedy text with use_cache=True differs from the
#   greedy text of the same weights with use_cache=False, which equals the one by whole forward passes.
# Why it matters: likelihoods (whole passes) and generated text are those of two different models. Configurations that were edited from
#   a Mistral one, or written by a converter, carry the key.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'transformers==5.23.0' 'torch==2.13.0'
cd "$work"
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" OMP_NUM_THREADS=1
venv/bin/python - <<'P' 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
import json
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
model = LlamaForCausalLM(LlamaConfig(vocab_size=64, max_position_embeddings=128, **sizes))
for weight in model.parameters():
    weight.data.mul_(8 if weight.dim() > 1 else 1)  # far from ties
model.save_pretrained("folder")
config = json.load(open("folder/config.json")) | {"sliding_window": 8}
json.dump(config, open("folder/config.json", "w"))
model = AutoModelForCausalLM.from_pretrained("folder").eval()
ids = torch.randint(3, 64, (1, 24))
asked = dict(max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=None)
cached = model.generate(ids, **asked)[0, 24:].tolist()
plain = model.generate(ids, use_cache=False, **asked)[0, 24:].tolist()
whole = ids
with torch.no_grad():
    for _ in range(12):
        whole = torch.cat([whole, model(whole, use_cache=False).logits[:, -1:].argmax(-1)], 1)
print("transformers", transformers.__version__, "torch", torch.__version__)
print("generate                 ", cached)
print("generate, use_cache=False", plain)
print("whole forward passes     ", whole[0, 24:].tolist())
sys.exit(0 if plain == whole[0, 24:].tolist() != cached else 1)
P
