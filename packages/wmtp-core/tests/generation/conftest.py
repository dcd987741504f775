"""Tiny models and a byte tokenizer for the decoder's tests."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

import pytest
import torch

from wmtp.generation.kernels.native import CompilerError, Product, load


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def product() -> Product:
    """The product in C. Skips, saying why, where there can be none."""
    try:
        return load()
    except CompilerError as reason:
        message = f"no compiled product: {reason}"
        if os.environ.get("CI") == "true" and platform.machine() == "x86_64":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def tokenizer(byte_tokenizer: Any) -> Any:
    return byte_tokenizer


@pytest.fixture(scope="session")
def mtp_model() -> Callable[..., Any]:
    """A random MTP Llama. heads: good (copies of head 0, so drafts repeat it), bad (random), adversarial (never right)."""
    from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

    def make(kind: str = "bad", heads: int = 4, seed: int = 0, **shape: int) -> Any:
        torch.manual_seed(seed)
        config = MtpLlamaConfig(
            vocab_size=259, hidden_size=48, intermediate_size=96, num_hidden_layers=2, max_position_embeddings=256,
            bos_token_id=1, eos_token_id=2, pad_token_id=0, n_future_tokens=heads, initializer_range=0.3,
            **{"num_attention_heads": 4, "num_key_value_heads": 2, **shape},
        )  # fmt: skip
        model = MtpLlamaForCausalLM(config).eval()
        for head in model.extra_heads:
            if kind == "good":
                head.load_state_dict(model.model.layers[-1].state_dict())
            elif kind == "adversarial":
                for parameter in head.parameters():
                    torch.nn.init.constant_(parameter, 7.0)
        return model

    return make
