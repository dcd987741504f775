#!/usr/bin/env bash
# transformers: load a checkpoint that has multi-token-prediction modules and save it: they are gone, and config.json still counts them.
#
# Versions: transformers 5.23.0, torch 2.13.0 (CPU).
# Seen: three folders with the tensors of one module added under the names their hub checkpoints use. Qwen3-Next (`mtp.*`): neither
#   loaded, reported nor saved. DeepSeek-V3 with its 61 layers (`model.layers.61.*`): the same, and num_nextn_predict_layers stays 1 in
#   the written config.json. DeepSeek-V3 with three layers (`model.layers.3.*`): reported as UNEXPECTED, for the pattern of what to ignore
#   holds the number 61; not saved either.
# Why it matters: a fine-tune, a merge or a change of precision by load and save makes a model that says it has a draft module and has
#   none; whether anybody hears of it depends on the number of layers.
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
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, Qwen3NextConfig, Qwen3NextForCausalLM

common = dict(vocab_size=64, hidden_size=32, intermediate_size=32, moe_intermediate_size=16, num_attention_heads=2, num_experts_per_tok=1)
deepseek = dict(
    num_key_value_heads=2, q_lora_rank=8, kv_lora_rank=8, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, n_routed_experts=2,
    n_group=1, topk_group=1, num_nextn_predict_layers=1,
)
gated = dict(
    num_hidden_layers=2, num_key_value_heads=1, head_dim=16, linear_num_value_heads=2, linear_num_key_heads=1, linear_key_head_dim=8,
    linear_value_head_dim=8, num_experts=2, shared_expert_intermediate_size=16, layer_types=["linear_attention", "full_attention"],
)


def again(name, model, prefix):
    """Put two tensors of a module beside the model's own, load and save: (unexpected, kept, the count in config.json)."""
    model.save_pretrained(name)
    module = {f"{prefix}.eh_proj.weight": torch.ones(32, 64), f"{prefix}.enorm.weight": torch.ones(32)}
    save_file(load_file(f"{name}/model.safetensors") | module, f"{name}/model.safetensors", metadata={"format": "pt"})
    loaded, told = AutoModelForCausalLM.from_pretrained(name, output_loading_info=True)
    loaded.save_pretrained(f"{name}-again")
    kept = len(module.keys() & load_file(f"{name}-again/model.safetensors").keys())
    count = json.load(open(f"{name}-again/config.json")).get("num_nextn_predict_layers")
    print(f"{name:18} told as unexpected: {len(told['unexpected_keys'])}, kept by save_pretrained: {kept}, config.json counts {count}")
    return len(told["unexpected_keys"]), kept, count


print("transformers", transformers.__version__, "torch", torch.__version__)
seen = [again("qwen3-next", Qwen3NextForCausalLM(Qwen3NextConfig(**common, **gated)), "mtp")]
for layers in (61, 3):
    config = DeepseekV3Config(num_hidden_layers=layers, first_k_dense_replace=layers, **common, **deepseek)
    seen.append(again(f"deepseek-{layers}-layers", DeepseekV3ForCausalLM(config), f"model.layers.{layers}"))
sys.exit(0 if seen == [(0, 0, None), (0, 0, 1), (2, 0, 1)] else 1)
P
