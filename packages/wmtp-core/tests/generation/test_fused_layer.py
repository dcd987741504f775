"""Decoder layers in C: what torch computes, row by row alone, and only where nothing is different."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from wmtp.generation.kernels.fused_layer import fused, fused_layers
from wmtp.generation.kernels.native import Product
from wmtp.generation.ragged_cache import RaggedCache
from wmtp.testing.architectures import tiny_model

SIZES = {"hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 24}
CHANGES: dict[str, dict[str, Any]] = {"llama": {"attention_bias": True}, "mistral": {}, "qwen2": {}, "qwen3": {}}
FIRST = [3, 40, 0, 17]  # positions of the rows' next inputs


def layer_of(kind: str, dtype: torch.dtype) -> Any:
    sizes = {**SIZES, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16} if kind == "qwen2" else SIZES
    model = tiny_model(kind, {**sizes, **CHANGES[kind], "hidden_size": 48}).to(dtype)
    layer = model.model.layers[1]
    for name, parameter in layer.named_parameters():
        if "bias" in name or "norm" in name:
            parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)).to(dtype) / 3
    return layer


def run(layer: Any, rows: list[int], width: int, window: int | None, *, in_c: bool) -> tuple[torch.Tensor, ...]:
    """The layer over `width` inputs behind each of these rows: what it gives, and the keys and values it leaves."""
    attention, dtype = layer.self_attn, layer.input_layernorm.weight.dtype
    generator = torch.Generator().manual_seed(4)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    dim = attention.head_dim
    hidden, angles = some(4, 3, attention.q_proj.in_features), some(4, 3, dim // 2).repeat(1, 1, 2)
    kept = (
        some(4, attention.k_proj.out_features // dim, 64, dim),
        some(4, attention.k_proj.out_features // dim, 64, dim),
    )
    cache = RaggedCache(2, 64)
    cache.layers[1].lazy_initialization(kept[0][rows, :, :1], kept[1][rows, :, :1])
    cache.layers[1].keys.copy_(kept[0][rows])
    cache.layers[1].values.copy_(kept[1][rows])
    places = torch.tensor([FIRST[row] for row in rows])[:, None] + torch.arange(width)
    cache.set_positions(places, int(places.max()) + 1)
    with torch.inference_mode(), fused([layer] if in_c else []):
        assert (type(layer).__name__ == "FusedDecoderLayer") is in_c
        out = layer(
            hidden[rows, :width], attention_mask=cache.mask(dtype, window), position_ids=cache.positions,
            past_key_values=cache, use_cache=True,
            position_embeddings=(angles[rows, :width].cos(), angles[rows, :width].sin()),
        )  # fmt: skip
    return out, cache.layers[1].keys, cache.layers[1].values


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_layer_in_c_gives_what_torch_gives(product: Product, kind: str, dtype: torch.dtype) -> None:
    layer = layer_of(kind, dtype)
    assert fused_layers(layer) == [layer]
    tolerance = 1e-5 if dtype == torch.float32 else 0.01  # of the norm
    for rows, width, window in (([0], 1, None), ([0, 1, 2, 3], 1, 8), ([1, 3], 3, None), ([2, 1, 0, 3], 3, 5)):
        wanted, found = (run(layer, rows, width, window, in_c=in_c) for in_c in (False, True))
        for theirs, ours in zip(wanted, found, strict=True):
            assert (ours - theirs).float().norm() <= tolerance * theirs.float().norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_depends_on_nothing_but_itself(product: Product, dtype: torch.dtype) -> None:
    layer = layer_of("qwen3", dtype)
    together = run(layer, [0, 1, 2, 3], 3, 6, in_c=True)
    for row in range(4):
        alone = run(layer, [row], 3, 6, in_c=True)
        assert all(torch.equal(one[0], all_[row]) for one, all_ in zip(alone, together, strict=True))
        assert torch.equal(run(layer, [row], 1, 6, in_c=True)[0][0, 0], together[0][row, 0])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert all(map(torch.equal, run(layer, [0, 1, 2, 3], 3, 6, in_c=True), together))
    finally:
        torch.set_num_threads(threads)


def test_a_layer_that_does_something_else_is_left_to_torch(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of("llama", torch.float32)
    for change in ("hook", "inner hook", "own forward", "dtype", "another class", "another part"):
        other = layer_of("llama", torch.float32)
        if change == "hook":
            other.register_forward_hook(lambda *_: None)
        elif change == "inner hook":
            other.mlp.up_proj.register_forward_pre_hook(lambda *_: None)
        elif change == "own forward":
            other.self_attn.forward = lambda *_, **__: None
        elif change == "dtype":
            other.mlp.to(torch.bfloat16)
        elif change == "another class":
            other.__class__ = type("Other", (LlamaDecoderLayer,), {})
        else:
            other.self_attn.gate = torch.nn.Linear(48, 48)
        assert fused_layers(other) == [], change
    forward = LlamaDecoderLayer.forward
    monkeypatch.setattr(
        LlamaDecoderLayer, "forward", lambda self, x, **kwargs: x + 1.01 * (forward(self, x, **kwargs) - x)
    )
    assert fused_layers(layer) == [], "its forward gives something else"


def test_layers_are_the_librarys_own_again(product: Product) -> None:
    layer = layer_of("llama", torch.float32)
    before = dict(vars(layer))
    with pytest.raises(KeyError), fused([layer]):
        raise KeyError
    assert type(layer) is LlamaDecoderLayer
    assert vars(layer) == before
    layer.register_forward_hook(lambda *_: None)  # since it was chosen
    with fused([layer]):
        assert type(layer) is LlamaDecoderLayer
