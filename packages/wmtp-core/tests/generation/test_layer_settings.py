"""What a configuration may say of layers that are computed in C: each writes what ``generate`` writes, or is left to torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from wmtp.generation.engine import DecodingEngine
from wmtp.generation.kernels.fused_layer import fused, fused_layers
from wmtp.generation.kernels.native import Product
from wmtp.generation.ragged_cache import RaggedCache
from wmtp.generation.targets import CausalTarget
from wmtp.testing.architectures import NumberTokenizer, engine_tokens, prompts, reference, tiny_model

ODD = {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16}
HYBRID = ["linear_attention", "full_attention"]


def turned(share: float) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": share}}


IN_C: dict[str, tuple[str, dict[str, Any]]] = {
    "groups of three, wide heads, biases, tied": (
        "llama",
        {**ODD, "attention_bias": True, "tie_word_embeddings": True},
    ),
    "five heads on one": (
        "llama",
        {
            "hidden_size": 80,
            "num_attention_heads": 5,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "tie_word_embeddings": False,
        },
    ),
    "large epsilon": ("llama", {"rms_norm_eps": 0.1}),
    "GELU in Llama": ("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    "window of two": ("mistral", {"sliding_window": 2}),
    "window as long as a prompt": ("mistral", {"sliding_window": 33}),
    "windows in some layers": ("qwen2", {"use_sliding_window": True, "max_window_layers": 1, "sliding_window": 17}),
    "window that is not used": ("qwen2", {"use_sliding_window": False, "sliding_window": 4}),
    "heads of 24, biases": ("qwen3", {"head_dim": 24, "attention_bias": True}),
    "strong caps": (
        "gemma2",
        {"attn_logit_softcapping": 0.3, "final_logit_softcapping": 2.0, "query_pre_attn_scalar": 3},
    ),
    "no caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None, "sliding_window": 17}),
    "caps that Gemma 3 does not apply": ("gemma3_text", {"attn_logit_softcapping": 0.3, "sliding_window": 17}),
    "rotary positions by kind": (
        "gemma3_text",
        {
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    ),
    "heads that are turned whole": ("qwen3_next", turned(1.0)),
    "a half of heads turned, one for all": ("qwen3_next", {**turned(0.5), "head_dim": 16, "num_key_value_heads": 1}),
    "experts in some layers": (
        "qwen3_next",
        {"num_hidden_layers": 4, "layer_types": HYBRID * 2, "decoder_sparse_step": 2, "mlp_only_layers": [3]},
    ),
    "all experts, shares as they are": (
        "qwen3_next",
        {"norm_topk_prob": False, "num_experts": 8, "num_experts_per_tok": 8},
    ),
    "one expert": ("qwen3_next", {"num_experts_per_tok": 1}),
    "convolution of two": ("qwen3_next", {"linear_conv_kernel_dim": 2}),
    "convolution of five": ("qwen3_next", {"linear_conv_kernel_dim": 5}),
    "as many keys as values": (
        "qwen3_next",
        {"linear_num_key_heads": 4, "linear_num_value_heads": 4, "linear_key_head_dim": 16},
    ),
    "one key for four values": (
        "qwen3_next",
        {"linear_num_key_heads": 1, "linear_key_head_dim": 8, "linear_value_head_dim": 24},
    ),
    "no recurrent layer": ("qwen3_next", {"layer_types": ["full_attention"] * 2}),
    "convolution of three": ("qwen3_5_text", {"linear_conv_kernel_dim": 3, "head_dim": 16, **turned(0.5)}),
    "three of eight experts": ("qwen3_5_moe_text", {"num_experts": 8, "num_experts_per_tok": 3}),
}
BY_TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "biases of the product": ("llama", {"mlp_bias": True}),
    "heads of 12": ("llama", {"head_dim": 12, "num_key_value_heads": 4}),
    "exact GELU": ("llama", {"hidden_act": "gelu"}),
    "ReLU": ("llama", {"hidden_act": "relu"}),
    "exact GELU in Gemma": ("gemma2", {"hidden_activation": "gelu"}),
    "six experts": ("qwen3_next", {"num_experts": 6, "num_experts_per_tok": 3}),
}


@torch.no_grad()
def made(name: str) -> Any:
    """A tiny model whose norms and biases are not all alike, as those of a new one are."""
    model = tiny_model(*{**IN_C, **BY_TORCH}[name])
    generator = torch.Generator().manual_seed(1)
    for of, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.add_((0.3 if "norm" in of else 0.5) * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", [*IN_C, *BY_TORCH])
def test_what_a_configuration_says_of_layers_is_done(product: Product, name: str) -> None:
    model = made(name)
    assert len(fused_layers(model)) == (len(model.model.layers) if name in IN_C else 0)
    wanted = [reference(model, prompt, 14) for prompt in prompts()]
    for batch, n in ((1, 1), (4, 2), (40, 16)):
        engine = DecodingEngine(model, NumberTokenizer(), identity={}, batch_size=batch)
        for (prompt, _), ids in engine_tokens(engine, n=n).items():
            assert ids == wanted[prompt], (batch, len(prompts()[prompt]))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_C)
def test_logits_of_ragged_steps_are_those_of_whole_forwards(product: Product, name: str) -> None:
    """Beside prompts of one token and of 90, step by step."""
    model, steps = made(name), 5
    target, texts = CausalTarget(model), [[7] * 6, *([*p, *p[:steps]] for p in prompts())]
    starts = [len(text) - steps for text in texts]
    cache, layers = RaggedCache(target.layers, 128), fused_layers(model)
    with torch.inference_mode():
        for row, (text, length) in enumerate(zip(texts, starts, strict=True)):
            one = RaggedCache(target.layers, 128, steady=False)
            one.set_positions(torch.arange(length)[None], length)
            target.prefill(torch.tensor([text[:length]]), one)
            if not row:
                cache.start(one, len(texts))
            cache.copy_row(one, row, length)
        whole = [model(input_ids=torch.tensor([text]), use_cache=False).logits[0] for text in texts]
        for step in range(steps):
            positions = torch.tensor(starts)[:, None] + step
            cache.set_positions(positions, int(positions.max()) + 1)
            ids = torch.tensor([[text[start + step]] for text, start in zip(texts, starts, strict=True)])
            with fused(layers):
                logits = target.verify(ids, cache)[1][:, 0]
            for row, start in enumerate(starts):
                wanted = whole[row][start + step]
                assert (logits[row] - wanted).norm() <= 1e-4 * wanted.norm(), (step, start)
