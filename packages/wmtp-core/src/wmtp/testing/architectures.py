"""Tiny random models of the types of transformers, and what each writes beside transformers' own ``generate``.

For tests and for the page that lists what is decoded how: a model of two to four layers a type, with windows and thresholds of
32 tokens, and prompts on both sides of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from wmtp.generation.compared import ALIGNED, RAGGED, RECURRENT, WINDOWED
from wmtp.models.causal import UNSUPPORTED

LENGTHS = (3, 17, 33, 65, 90)
VOCABULARY = 260
WINDOW = 32

SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "n_embd": 32, "d_model": 32, "dim": 32, "num_hidden_layers": 2,
    "n_layer": 2, "num_layers": 2, "n_layers": 2, "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4,
    "num_key_value_heads": 2, "num_kv_heads": 2, "head_dim": 8, "intermediate_size": 48, "n_inner": 48, "ffn_dim": 48,
    "dff": 48, "ffn_hidden_size": 48, "max_position_embeddings": 256, "n_positions": 256, "max_seq_len": 256, "seq_length": 256,
    "sliding_window": WINDOW, "window_size": WINDOW, "attention_window_size": WINDOW, "attention_chunk_size": WINDOW,
    "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0, "initializer_range": 0.3, "init_std": 0.3,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "moe_k": 2, "num_experts_per_token": 2,
    "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "qk_head_dim": 16,
    "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_d_ssm": 64, "mamba_expand": 2,
    "state_size": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "lru_width": 32, "rotary_dim": 4, "word_embed_proj_dim": 32, "attention_heads": 4,
    "is_decoder": True, "use_mamba_kernels": False, "conv_dim": 32, "index_head_dim": 8, "index_n_heads": 2, "index_topk": 16,
}  # fmt: skip
"""Sizes by the names that configurations have for them; a type takes those that it knows."""


def _rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


LONG = {
    "long_factor": [4.0] * 4, "short_factor": [1.0] * 4, "original_max_position_embeddings": 48, "factor": 4.0,
}  # fmt: skip
FULL = {"sliding_window": None}

LEFT_OUT: Any = ...  # a type takes its own default for this name
SPECIAL: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"], "num_key_value_heads": 4},
    "lfm3": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_5_moe_text": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen4_exp_text": {"layer_types": ["linear_attention", "full_attention"]},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "gemma4_text": {"num_kv_shared_layers": 0, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY},
    "reformer": {
        "axial_pos_embds": False, "attn_layers": ["local", "local"], "local_attn_chunk_length": 16, "is_decoder": True,
    },
    "xlnet": {"max_position_embeddings": LEFT_OUT},
    "xlstm": {"v_head_dim": LEFT_OUT, "qk_head_dim": LEFT_OUT, "head_dim": LEFT_OUT},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "youtu": {"head_dim": LEFT_OUT, "num_key_value_heads": 4},
    "zamba": {"num_hidden_layers": 3, "layers_block_type": ["mamba", "hybrid", "mamba"], "head_dim": LEFT_OUT},
    "zamba2": {"num_hidden_layers": 3, "layers_block_type": ["mamba", "hybrid", "mamba"], "head_dim": LEFT_OUT},
    "bamba": {"attn_layer_indices": [1]},
    "deepseek_v32": {"num_key_value_heads": 4},
    "deepseek_v2": {"num_key_value_heads": 4},
    "deepseek_v3": {"num_key_value_heads": 4},
    "diffllama": {"num_key_value_heads": 4},
    "doge": {"keep_window_size": WINDOW},
    "falcon": {"head_dim": LEFT_OUT},
    "glm4_moe_lite": {"head_dim": LEFT_OUT, "num_key_value_heads": 4},
    "longcat_flash": {"head_dim": LEFT_OUT, "num_key_value_heads": 4},
    "axk1": {"head_dim": LEFT_OUT, "num_key_value_heads": 4},
    "axk2": {"head_dim": LEFT_OUT, "num_key_value_heads": 4},
    "glm_moe_dsa": {"head_dim": LEFT_OUT, "num_key_value_heads": 4},
    "falcon_mamba": {"time_step_rank": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {
        "num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
        "mamba_d_state": 4, "mamba_dt_rank": 4,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba": {"time_step_rank": 4},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "minicpm3": {"num_key_value_heads": 4},
    "minimax": {"layer_types": ["linear_attention", "full_attention"], "block_size": 16},
    "mpt": {"max_seq_len": 256},
    "olmo3": {"num_hidden_layers": 4},
    "persimmon": {"num_key_value_heads": None},
    "phi": {"num_key_value_heads": 4},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "recurrent_gemma": {"num_hidden_layers": 3, "block_types": ["recurrent", "recurrent", "attention"]},
    "rwkv": {"attention_hidden_size": 32, "context_length": 256},
    "stablelm": {"num_key_value_heads": 4},
}  # fmt: skip
"""What a type needs beyond `SMALL` to be a small one of its kind."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, rope linear": ("llama", _rope("linear", factor=2.0)),
    "llama, rope llama3": (
        "llama",
        _rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=48),
    ),
    "llama, rope yarn": ("llama", _rope("yarn", factor=4.0, original_max_position_embeddings=48)),
    "llama, rope dynamic, past its length": ("llama", {"max_position_embeddings": 48, **_rope("dynamic", factor=4.0)}),
    "llama, rope longrope": ("llama", _rope("longrope", **LONG)),
    "phi3, rope longrope": (
        "phi3",
        {**FULL, "original_max_position_embeddings": 48, **_rope("longrope", **LONG)},
    ),
    "phi3, no window": ("phi3", FULL),
    "phi3, window wider than the context": ("phi3", {"sliding_window": 262144}),
    "phimoe, rope longrope": ("phimoe", {**FULL, **_rope("longrope", **LONG)}),
    **{
        f"{kind}, window in use": (kind, {"use_sliding_window": True, "max_window_layers": 1, "sliding_window": WINDOW})
        for kind in ("dots1", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe")
    },
    "mellum, windows": ("mellum", {"layer_types": ["sliding_attention", "full_attention"]}),
    "mistral, no window": ("mistral", FULL),
    "mixtral, no window": ("mixtral", FULL),
    "starcoder2, no window": ("starcoder2", FULL),
    "falcon, alibi": ("falcon", {"alibi": True}),
    "falcon, new architecture": ("falcon", {"new_decoder_architecture": True}),
    "gpt_neo, global only": ("gpt_neo", {"attention_types": [[["global"], 2]]}),
    "lfm2, attention only": ("lfm2", {"layer_types": ["full_attention", "full_attention"]}),
    "llama4_text, full attention": ("llama4_text", {"layer_types": ["full_attention"] * 2}),
    "doge, wide": ("doge", {"keep_window_size": 2048}),
    "dots1, unused window": ("dots1", {"layer_types": ["full_attention"] * 2}),
}
"""Rows beyond one a type: what a type does at another setting."""


LISTED = sorted({*RAGGED - {"mtp_llama"}, *RECURRENT, *ALIGNED, *WINDOWED, *UNSUPPORTED, "rwkv", *VARIANTS})
"""What docs/models.md has a row for."""


@attrs.frozen(kw_only=True)
class Found:
    """What one model wrote.

    Attributes:
        path: how it was decoded, or ``refused``.
        wrong: prompts and batch sizes whose tokens were other than ``generate``'s.
        note: why it was not the fastest path, or why it was refused.
    """

    path: str
    wrong: tuple[str, ...] = ()
    note: str = ""


def tiny_model(model_type: str, changes: Mapping[str, Any] | None = None) -> Any:
    """A small random model of a type, in eval mode and float32."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = CONFIG_MAPPING[model_type]
    known = made()
    sizes = {name: value for name, value in SMALL.items() if _knows(known, name)}
    chosen = {**sizes, **SPECIAL.get(model_type, {}), **(changes or {})}
    config = made(**{name: value for name, value in chosen.items() if value is not LEFT_OUT})
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    return model


def _knows(config: Any, name: str) -> bool:
    """Whether a configuration has a name, and one value for it."""
    try:
        return hasattr(config, name)
    except Exception:  # a value that differs by layer  # noqa: BLE001
        return True


def prompts() -> list[list[int]]:
    """Token ids, one prompt for each of `LENGTHS`."""
    import torch

    generator = torch.Generator().manual_seed(3)
    return [torch.randint(4, VOCABULARY, (length,), generator=generator).tolist() for length in LENGTHS]


class NumberTokenizer:
    """Texts are token ids in decimal, one after another: what was written can be read off a completion."""

    eos_token_id = None
    bos_token_id = 1
    all_special_tokens: tuple[str, ...] = ()

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(f"{i} " for i in ids)


def reference(model: Any, prompt: list[int], tokens: int) -> list[int]:
    """What ``generate`` writes, greedily, one prompt at a time."""
    import torch

    ids = torch.tensor([prompt])
    forget_positions(model)
    with torch.inference_mode():
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0
        )
    return out[0, len(prompt) :].tolist()  # type: ignore[no-any-return]


def engine_tokens(
    engine: Any, *, n: int = 1, temperature: float = 0.0, tokens: int = 14, order: int = 1
) -> dict[tuple[int, int], list[int] | str]:
    """(prompt, sample) → what an engine writes behind each of `prompts`, or its error. order: -1 asks in reverse."""
    from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling

    wanted = [
        GenerationRequest(
            key=SampleKey(evaluator="e", problem=str(i), index=j),
            prompt=" ".join(map(str, prompt)),
            max_new_tokens=tokens,
        )
        for i, prompt in enumerate(prompts())
        for j in range(n)
    ]
    found = engine.generate(iter(wanted[::order]), Sampling(temperature=temperature, seed=5))
    return {(int(c.key.problem), c.key.index): c.error if c.error else [int(w) for w in c.text.split()] for c in found}


def examine(name: str) -> Found:
    """Decodes a type (or one of `VARIANTS`) greedily at batch 1 and 4, with 1 and 3 samples, beside ``generate``.

    Raises:
        AssertionError: a sampled token depends on batch size or order.
        ValueError: transformers itself cannot make or run the small model.
    """
    from wmtp.errors import GenerationError
    from wmtp.generation.engine import DecodingEngine

    kind, changes = VARIANTS.get(name, (name, {}))
    try:
        model = tiny_model(kind, changes)
        wanted = [reference(model, prompt, 14) for prompt in prompts()]
    except Exception as error:  # whatever a type raises that is not made for these sizes
        raise ValueError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error

    def engine(batch: int) -> Any:
        return DecodingEngine(model, NumberTokenizer(), identity={}, batch_size=batch)

    try:
        path = engine(1).path
    except GenerationError as error:
        return Found(path="refused", note=str(error))
    wrong = []
    for batch, n in ((1, 1), (4, 3)):
        found = engine_tokens(engine(batch), n=n)
        wrong += [f"{LENGTHS[i]} tokens, batch {batch}" for (i, _), ids in found.items() if ids != wanted[i]]
    one, other = (
        engine_tokens(engine(3), n=3, temperature=0.9),
        engine_tokens(engine(7), n=2, temperature=0.9, order=-1),
    )
    assert other == {key: one[key] for key in other}, f"{name}: samples depend on what they are decoded beside"
    assert len({str(ids) for ids in one.values()}) > len(LENGTHS), f"{name}: all samples are alike"
    return Found(path=path.path, wrong=tuple(wrong), note=path.why)


def forget_positions(model: Any) -> None:
    """Rotary frequencies as before any text: transformers keeps those of the longest one that came before."""
    from wmtp.generation.stepping import OwnCache

    OwnCache(model).forget()
