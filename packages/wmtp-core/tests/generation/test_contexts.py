"""How many positions a model takes, as its rotary positions are stretched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import LlamaConfig, Phi3Config

from wmtp.generation.engine import DecodingEngine
from wmtp.generation.paths import only_window
from wmtp.kit import context_of
from wmtp.testing.architectures import NumberTokenizer, engine_tokens, prompts, reference, tiny_model

BANDS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
FACTORS = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}


@pytest.mark.parametrize(
    ("rope", "context"),
    [
        ({"rope_type": "default"}, 256),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}, 1024),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 256),  # DeepSeek's: taken in
        ({"rope_type": "yarn", "factor": 2.5, "original_max_position_embeddings": 256}, 640),
        ({"type": "yarn", "factor": 4.0}, 1024),
        ({"rope_type": "dynamic", "factor": 2.0}, 512),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 16, **BANDS}, 256),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64, **BANDS}, 512),
        ({"rope_type": "longrope", "original_max_position_embeddings": 64, **FACTORS}, 256),
        ({"rope_type": "longrope", "factor": 8.0, "original_max_position_embeddings": 64, **FACTORS}, 512),
        ({"rope_type": "linear", "factor": 4.0}, 1024),
    ],
    ids=str,
)
def test_a_context_is_what_rotary_positions_stretch_it_to(rope: dict[str, Any], context: int) -> None:
    config = LlamaConfig(hidden_size=32, num_attention_heads=4, max_position_embeddings=256, rope_parameters=rope)
    assert context_of(config) == context


def test_layers_of_several_kinds_and_lengths_beside_the_parameters_are_read_too() -> None:
    by_kind = {"full_attention": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 256}}
    assert context_of(SimpleNamespace(max_position_embeddings=256, rope_parameters=by_kind)) == 512
    code = {"type": "yarn", "factor": 4.0}  # as remote code keeps them
    assert context_of(SimpleNamespace(max_position_embeddings=256, rope_scaling=code)) == 1024
    long = {"rope_type": "longrope", **FACTORS}
    phi = Phi3Config(
        hidden_size=32, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256, rope_parameters=long,
        original_max_position_embeddings=64, sliding_window=512,
    )  # fmt: skip
    assert context_of(phi) == 256
    assert context_of(SimpleNamespace(rope_parameters=by_kind)) >= 1 << 20


def test_a_window_within_the_stretched_context_is_a_window() -> None:
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    model = tiny_model("mistral", {"max_position_embeddings": 64, "sliding_window": 64, "rope_parameters": rope})
    assert only_window(model.config) == 64


@pytest.mark.parametrize(("kind", "rope_type"), [("llama", "yarn"), ("mistral", "yarn"), ("llama", "linear")])
def test_texts_beyond_the_number_that_is_named_are_written_as_generate_writes_them(kind: str, rope_type: str) -> None:
    rope: dict[str, Any] = {"rope_type": rope_type, "rope_theta": 10000.0, "factor": 3.0}
    if rope_type == "yarn":
        rope["original_max_position_embeddings"] = 40
    model = tiny_model(kind, {"max_position_embeddings": 40, "sliding_window": 40, "rope_parameters": rope})
    if kind == "llama":
        del model.config.sliding_window
    made = DecodingEngine(model, NumberTokenizer(), identity={}, batch_size=4)
    assert made.context == 120
    found = engine_tokens(made)
    assert [found[i, 0] for i in range(len(prompts()))] == [reference(model, p, 14) for p in prompts()]
