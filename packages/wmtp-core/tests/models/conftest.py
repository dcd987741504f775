"""A tiny model folder in transformers format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

torch.set_num_threads(1)


@pytest.fixture
def tiny() -> Callable[..., MtpLlamaForCausalLM]:
    def make(**changes: Any) -> MtpLlamaForCausalLM:
        torch.manual_seed(0)
        shape = {"vocab_size": 259, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
        config = MtpLlamaConfig(
            **{**shape, "n_future_tokens": 3, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3, **changes}
        )
        return MtpLlamaForCausalLM(config).eval()

    return make


@pytest.fixture
def folder(tmp_path: Path, tiny: Callable[..., MtpLlamaForCausalLM]) -> Path:
    """That model and a byte tokenizer, saved."""
    from wmtp.testing.byte_tokenizer import byte_tokenizer

    path = tmp_path / "model"
    tiny().save_pretrained(path)
    byte_tokenizer(("<pad>", "<s>", "</s>"), bos_token="<s>", eos_token="</s>").save_pretrained(path)
    return path
