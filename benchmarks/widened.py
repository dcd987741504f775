"""A small trained trunk with its trained sequential module, made as large as a real model without changing what they compute.

The trunk learns the demo's solutions and the module learns to draft behind it, both by gradient steps, as
`examples/train_demo_heads.py` does. Then every state becomes nine copies of itself, side by side: what reads states takes a
ninth of each copy, what writes them writes all nine, so norms, angles and logits stay what they were. Further heads, inner
units and layers stand between, with random weights; what they write is nearly nothing. So a step has the arithmetic of the
large model (the shape is SmolLM-135M's), and a draft is right as often as that of a module that was trained.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
import train_demo_heads as demo

import wmtp
from wmtp.models.architectures.load import StoredModules

COPIES, INNER, LAYERS, GROUPS = 9, 1536, 30, 3  # 576 states, nine heads of 64 that share three keys: 107 M parameters
TRUNK_STEPS, MODULE_STEPS = 250, 100
READS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "lm_head")
WRITES = ("o_proj", "down_proj")
FAINT = 0.01  # of what a layer's output matrices begin with: of heads, units and layers that were not trained


def trained() -> tuple[Any, Any]:
    """The small trunk and its module: hidden size 64, three layers, three heads of 64 that share their keys."""
    ids = demo.batch(demo.solutions())
    model = demo.train_trunk(ids, TRUNK_STEPS, num_attention_heads=3, num_key_value_heads=1, head_dim=64)
    modules: Any = demo.train_module(model, ids, demo.MIMO.convention, MODULE_STEPS)
    return model, modules.requires_grad_(False)


def widened(model: Any, modules: Any) -> tuple[Any, StoredModules]:
    """The same in 576 states, 30 layers and nine heads."""
    torch.manual_seed(1)
    small = model.config
    heads, keys = (GROUPS * n for n in (small.num_attention_heads, small.num_key_value_heads))
    config = Qwen2Config(**{
        **small.to_dict(), "hidden_size": small.hidden_size * COPIES, "intermediate_size": INNER, "layer_types": None,
        "num_hidden_layers": LAYERS, "num_attention_heads": heads, "num_key_value_heads": keys, "max_window_layers": LAYERS,
    })  # fmt: skip
    large = Qwen2ForCausalLM(config).eval().requires_grad_(False)
    places = {i: (i + 1) * LAYERS // small.num_hidden_layers - 1 for i in range(small.num_hidden_layers)}
    weights = {}
    for name, weight in model.state_dict().items():
        owner, mark, rest = name.partition("layers.")
        number, _, part = rest.partition(".")
        weights[f"{owner}{mark}{places[int(number)]}.{part}" if mark else name] = weight
    _fill(large.named_parameters(), weights)
    made: Any = wmtp.new_modules(large, demo.MIMO)
    _fill(made.named_parameters(), modules.state_dict())
    made.convention = modules.convention
    made.eval().requires_grad_(False)
    return large, StoredModules(demo.MIMO, 1, lambda: made)


@torch.no_grad()
def _fill(parameters: Iterable[tuple[str, Tensor]], small: Mapping[str, Tensor]) -> None:
    """Puts small weights into the corner of large ones, whose rest is random."""
    for name, weight in parameters:
        kind = name.split(".")[-2]
        if weight.dim() == 2:
            weight.normal_(0, 0.02 * FAINT if kind in WRITES else 0.02)
        if name in small:
            part = _copied(kind, small[name])
            weight[tuple(slice(n) for n in part.shape)] = part


def _copied(kind: str, weight: Tensor) -> Tensor:
    if kind == "eh_proj":
        return torch.cat([half.repeat(COPIES, COPIES) / COPIES for half in weight.chunk(2, dim=1)], dim=1)
    if kind in WRITES:
        return weight.repeat(COPIES, 1)
    if kind in READS:
        return weight.repeat(1, COPIES) / COPIES if weight.dim() == 2 else weight
    return weight.repeat(*[1] * (weight.dim() - 1), COPIES)  # norms and the embedding
