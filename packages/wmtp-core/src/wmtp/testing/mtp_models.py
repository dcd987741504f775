"""Tiny checkpoints with multi-token-prediction modules, of ten families, with the names that released checkpoints have.

The weights are random. Trunks are transformers' own classes, and so are the modules (`transformers.modeling_layers.MtpModel`),
which makes them an oracle for whoever runs the checkpoints another way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

_COMMON = {
    "vocab_size": 264, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_MOE = {
    **_COMMON, "num_key_value_heads": 2, "head_dim": 16, "moe_intermediate_size": 32, "n_routed_experts": 4,
    "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip
_LATENT = {
    **{k: v for k, v in _MOE.items() if k != "head_dim"}, "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 16,
    "qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 16,
}  # fmt: skip
_QWEN_NEXT = {
    **_COMMON, "num_hidden_layers": 4, "num_key_value_heads": 2, "head_dim": 16, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16, "full_attention_interval": 4,
}  # fmt: skip
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def _behind_trunk(norm: str) -> Callable[[str, str, int, int], str]:
    def name(role: str, rest: str, number: int, layers: int) -> str:
        inner = {"block": rest, "norm": f"{norm}.weight"}.get(role, f"{role}.weight")
        return f"model.layers.{layers + number}.{inner}"

    return name


def _mtp_fc(role: str, rest: str, number: int, layers: int) -> str:
    flat = {"eh_proj": "fc", "enorm": "pre_fc_norm_embedding", "hnorm": "pre_fc_norm_hidden", "norm": "norm"}
    return f"mtp.layers.{number}.{rest}" if role == "block" else f"mtp.{flat[role]}.weight"


def _mimo(role: str, rest: str, number: int, layers: int) -> str:
    flat = {
        "eh_proj": "input_proj",
        "enorm": "token_layernorm",
        "hnorm": "hidden_layernorm",
        "norm": "final_layernorm",
    }
    return f"model.mtp_layers.{number}.{rest if role == 'block' else flat[role] + '.weight'}"


def _ernie(role: str, rest: str, number: int, layers: int) -> str:
    flat = {"eh_proj": "mtp_linear_proj", "enorm": "mtp_emb_norm", "hnorm": "mtp_hidden_norm", "norm": ""}
    if role == "block":
        return f"model.mtp_block.{number}.{rest.replace('mlp.gate.moe_statics.', 'mlp.moe_statics.')}"
    return f"model.{flat[role]}.{number}.weight" if flat[role] else ""


@attrs.frozen
class _Family:
    trunk: str
    config: Mapping[str, Any]
    name: Callable[[str, str, int, int], str]
    extra: Mapping[str, Any] = {}
    declared: str = "num_nextn_predict_layers"
    model_type: str = ""


_FULL = {"mtp_layer_types": ["full_attention"]}
_SPARSE = {"mtp_mlp_layer_types": ["sparse"]}
MTP_FAMILIES: dict[str, _Family] = {
    "deepseek-v3": _Family(
        "deepseek_v3", {**_LATENT, "num_nextn_predict_layers": 1}, _behind_trunk("shared_head.norm")
    ),
    "glm4-moe": _Family("glm4_moe", {**_MOE, "num_nextn_predict_layers": 1}, _behind_trunk("shared_head.norm")),
    "glm4-moe-lite": _Family("glm4_moe_lite", _LATENT, _behind_trunk("shared_head.norm"), _SPARSE),
    "hy-v3": _Family(
        "hy_v3",
        {
            **_COMMON,
            **_EXPERTS,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "num_shared_experts": 1,
            "first_k_dense_replace": 1,
        },
        _behind_trunk("final_layernorm"),
        _SPARSE,
    ),
    "mimo": _Family(
        "qwen2",
        {**_COMMON, "num_key_value_heads": 2},
        _mimo,
        {**_FULL, "mtp_hidden_states_first": True},
        model_type="mimo",
    ),
    "ernie4.5": _Family(
        "ernie4_5_moe",
        {
            **_COMMON,
            "num_key_value_heads": 2,
            "moe_intermediate_size": 32,
            "moe_num_experts": 4,
            "moe_k": 2,
            "moe_num_shared_experts": 1,
            "moe_layer_start_index": 1,
            "moe_layer_end_index": -1,
            "moe_layer_interval": 1,
        },
        _ernie,
    ),
    "qwen3-next": _Family("qwen3_next", {**_QWEN_NEXT, **_EXPERTS}, _mtp_fc, _FULL, "mtp_num_hidden_layers"),
    "qwen3.5": _Family("qwen3_5_text", _QWEN_NEXT, _mtp_fc, _FULL, "mtp_num_hidden_layers"),
    "mellum": _Family(
        "mellum",
        {**_COMMON, **_EXPERTS, "num_key_value_heads": 2, "head_dim": 16, "num_mtp_layers": 1, **_FULL},
        _mtp_fc,
        declared="num_mtp_layers",
    ),
    "exaone": _Family(
        "exaone_moe",
        {
            **_COMMON,
            **_EXPERTS,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "num_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "sliding_window": 64,
            "sliding_window_pattern": "LLG",
        },
        _mtp_fc,
        {**_FULL, **_SPARSE},
    ),
}
"""Family → how its tiny checkpoint is made. Keys are names of architecture records."""


@attrs.frozen
class TinyMtp:
    """A tiny checkpoint with modules.

    Attributes:
        folder: where it was written, without a tokenizer.
        trunk: transformers' model of it.
        modules: transformers' `MtpModel` of it, sharing the trunk's embedding and output matrix.
        names: the stored names of the modules' tensors.
    """

    folder: Path
    trunk: Any
    modules: Any
    names: tuple[str, ...]


def write_mtp_model(folder: Path, family: str, *, modules: int = 1, seed: int = 0, scale: float = 0.15) -> TinyMtp:
    """Writes a tiny random checkpoint of a family (a key of `MTP_FAMILIES`), named as released ones are.

    Args:
        folder: is made.
        family: which.
        modules: how many; transformers runs one of each family.
        seed: of the weights.
        scale: standard deviation of the weights of matrices; norms lie between 0.5 and 1.5.
    """
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM
    from transformers.modeling_layers import MtpModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = MTP_FAMILIES[family]
    torch.manual_seed(seed)
    config = CONFIG_MAPPING[made.trunk](**{**made.config, "use_cache": True})
    for key, value in {"num_mtp_layers": modules, **made.extra}.items():
        setattr(config, key, value * modules if isinstance(value, list) else value)
    trunk = AutoModelForCausalLM.from_config(config).eval().float()
    heads = MtpModel(trunk, modules).eval().float()
    with torch.no_grad():
        for name, parameter in [*trunk.named_parameters(), *heads.named_parameters()]:
            if parameter.dim() > 1:
                parameter.normal_(0, scale)
            elif "norm" in name:
                parameter.uniform_(0.5, 1.5)
    folder.mkdir(parents=True)
    trunk.save_pretrained(folder)
    tensors: dict[str, Tensor] = {}
    for name, tensor in heads.state_dict().items():
        if name.startswith("layers."):
            tensors |= _named(name, tensor, made, int(config.num_hidden_layers))
    file = folder / "model.safetensors"
    save_file({**load_file(str(file)), **tensors}, str(file), metadata={"format": "pt"})
    path = folder / "config.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    for key in ("num_mtp_layers", "mtp_layer_types", "mtp_mlp_layer_types", "mtp_hidden_states_first"):
        if key not in made.config:
            stored.pop(key, None)
    stored[made.declared] = modules
    stored["model_type"] = made.model_type or stored["model_type"]
    path.write_text(json.dumps(stored, indent=2), encoding="utf-8")
    return TinyMtp(folder, trunk, heads, tuple(sorted(tensors)))


def _named(name: str, tensor: Tensor, made: _Family, layers: int) -> dict[str, Tensor]:
    """A tensor of transformers' under the released name; experts that are one tensor become one each."""
    _, number, role, rest = name.split(".", 3)
    role = {"post_norm": "norm", "mtp_block": "block"}.get(role, role)

    def called(part: str) -> str:
        return made.name(role, part, int(number), layers)

    if rest.endswith("experts.gate_up_proj"):
        owner, half = rest.removesuffix("gate_up_proj"), tensor.shape[1] // 2
        pieces = {f"{owner}{e}.gate_proj.weight": tensor[e, :half] for e in range(len(tensor))}
        pieces |= {f"{owner}{e}.up_proj.weight": tensor[e, half:] for e in range(len(tensor))}
    elif rest.endswith("experts.down_proj"):
        owner = rest.removesuffix("down_proj")
        pieces = {f"{owner}{e}.down_proj.weight": tensor[e] for e in range(len(tensor))}
    else:
        pieces = {rest: tensor}
    return {called(part): value.detach().clone().contiguous() for part, value in pieces.items() if called(part)}
