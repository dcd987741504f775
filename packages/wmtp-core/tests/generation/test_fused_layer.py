"""Decoder layers in C: what torch computes, row by row alone, and only where nothing is different."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from wmtp.generation.engine import DecodingEngine
from wmtp.generation.kernels.fused_layer import fused, fused_layers
from wmtp.generation.kernels.native import Product
from wmtp.generation.ragged_cache import RaggedCache
from wmtp.testing.architectures import NumberTokenizer, engine_tokens, prompts, reference, tiny_model

SIZES = {"hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 24}
CHANGES: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True}, "mistral": {}, "qwen2": {"num_attention_heads": 3, "num_key_value_heads": 1},
    "qwen3": {}, "gemma2": {"attn_logit_softcapping": 2.0, "attn_implementation": "eager"}, "gemma3_text": {},
    "qwen3_next": {}, "qwen3_5_text": {"linear_value_head_dim": 72}, "qwen3_5_moe_text": {"num_experts": 8},
}  # fmt: skip
KINDS = [*CHANGES, *(f"{kind}, recurrent" for kind in CHANGES if kind.startswith(("qwen3_n", "qwen3_5")))]
FIRST = [3, 40, 0, 17]  # positions of the rows' next inputs


def layer_of(kind: str, dtype: torch.dtype) -> Any:
    kind, _, recurrent = kind.partition(", ")
    sizes = {**SIZES, "head_dim": 16} if kind == "qwen2" else SIZES
    types = {"layer_types": ["linear_attention", "full_attention"]} if kind.startswith(("qwen3_n", "qwen3_5")) else {}
    model = tiny_model(kind, {**sizes, **types, **CHANGES[kind], "hidden_size": 48}).to(dtype)
    layer = model.model.layers[0 if recurrent else 1]
    for name, parameter in layer.named_parameters():
        if "bias" in name or "norm" in name:
            parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)).to(dtype) / 3
    return layer


def run(layer: Any, rows: list[int], width: int, window: int | None, *, in_c: bool) -> tuple[torch.Tensor, ...]:
    """The layer over `width` inputs behind each of these rows: what it gives, and what it keeps of them."""
    dtype, generator = layer.input_layernorm.weight.dtype, torch.Generator().manual_seed(4)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    hidden, options = some(4, 3, 48), {}
    if recurrent := hasattr(layer, "linear_attn"):
        rule = layer.linear_attn
        kept = (
            torch.randn(4, rule.num_v_heads, rule.head_k_dim, rule.head_v_dim, generator=generator),
            some(4, rule.conv_dim, rule.conv_kernel_size),
        )
        cache = RaggedCache(2, 64)
        for name, state in zip(("recurrent", "conv"), kept, strict=True):
            cache.layers[0].keep(name, 0, state[rows])
    else:
        attention = layer.self_attn
        dim = attention.head_dim
        heads = attention.k_proj.out_features // dim
        kept = (some(4, heads, 64, dim), some(4, heads, 64, dim))
        cache = RaggedCache(2, 64)
        cache.layers[1].lazy_initialization(kept[0][rows, :, :1], kept[1][rows, :, :1])
        cache.layers[1].keys.copy_(kept[0][rows])
        cache.layers[1].values.copy_(kept[1][rows])
        turned = 6 if "Qwen3_5" in type(layer).__name__ or "Next" in type(layer).__name__ else dim
        angles = some(4, 3, turned // 2).repeat(1, 1, 2)[rows, :width]
        options["position_embeddings"] = (angles.cos(), angles.sin())
    places = torch.tensor([FIRST[row] for row in rows])[:, None] + torch.arange(width)
    cache.set_positions(places, int(places.max()) + 1)
    if not recurrent:
        options |= {"attention_mask": cache.mask(dtype, window), "position_ids": cache.positions}
    options.setdefault("position_embeddings", None)
    with torch.inference_mode(), fused([layer] if in_c else []):
        assert (type(layer).__name__ == "FusedDecoderLayer") is in_c
        out = layer(hidden[rows, :width], past_key_values=cache, use_cache=True, **options)
    if recurrent:
        return out, *cache.layers[0].states.values()
    return out, cache.layers[1].keys, cache.layers[1].values


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_in_c_gives_what_torch_gives(product: Product, kind: str, dtype: torch.dtype) -> None:
    layer = layer_of(kind, dtype)
    assert fused_layers(layer) == [layer]
    tolerance = 1e-5 if dtype == torch.float32 else 0.02 if kind == "qwen3_next" else 0.01  # of the norm
    for rows, width, window in (([0], 1, None), ([0, 1, 2, 3], 1, 8), ([1, 3], 3, None), ([2, 1, 0, 3], 3, 5)):
        if width > 1 and "recurrent" in kind:
            continue  # is torch's
        wanted, found = (run(layer, rows, width, window, in_c=in_c) for in_c in (False, True))
        for theirs, ours in zip(wanted, found, strict=True):
            assert (ours - theirs).float().norm() <= tolerance * theirs.float().norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["qwen3", "gemma3_text", "qwen3_next", "qwen3_next, recurrent"])
def test_a_row_depends_on_nothing_but_itself(product: Product, kind: str, dtype: torch.dtype) -> None:
    layer = layer_of(kind, dtype)
    width = 1 if "recurrent" in kind else 3
    together = run(layer, [0, 1, 2, 3], width, 6, in_c=True)
    for row in range(4):
        alone = run(layer, [row], width, 6, in_c=True)
        assert all(torch.equal(one[0], all_[row]) for one, all_ in zip(alone, together, strict=True))
        assert torch.equal(run(layer, [row], 1, 6, in_c=True)[0][0, 0], together[0][row, 0])
    if dtype == torch.float32:  # as many as a batch has, or more
        many = run(layer, [0, 1, 2, 3] * 8, min(width, 2), 6, in_c=True)
        assert torch.equal(many[0][4:8], together[0][:, : min(width, 2)])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert all(map(torch.equal, run(layer, [0, 1, 2, 3], width, 6, in_c=True), together))
    finally:
        torch.set_num_threads(threads)


def test_experts_are_those_that_torch_picks_however_many_rows_ask(product: Product) -> None:
    """Each expert alone, none of some, all rows at one: by a router that sees one number of the input."""
    layer = layer_of("qwen3_next", torch.float32)
    for column in range(4):
        layer.mlp.gate.weight.data.zero_()
        layer.mlp.gate.weight.data[column, 5] = 40.0
        layer.mlp.gate.weight.data[(column + 1) % 4, 7] = 30.0
        layer.mlp.gate.weight.data[(column + 2) % 4, 9] = 3.0  # no ties
        wanted, found = (run(layer, [0, 1, 2, 3], 3, None, in_c=in_c)[0] for in_c in (False, True))
        assert (found - wanted).norm() <= 1e-5 * wanted.norm()


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


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_expert_of_no_units_is_left_to_torch(product: Product) -> None:
    """What C would have added for it was what lay in its scratch."""
    model = tiny_model("qwen3_5_moe_text", {"shared_expert_intermediate_size": 0})
    assert fused_layers(model) == []
    found = engine_tokens(DecodingEngine(model, NumberTokenizer(), identity={}, batch_size=4), tokens=6)
    assert [found[i, 0] for i in range(len(prompts()))] == [reference(model, p, 6) for p in prompts()]


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
