"""A model that lies in several places writes what it writes in one, and is known by the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import accelerate
import pytest
import torch

import wmtp
from wmtp.errors import ConfigError
from wmtp.models import load_model
from wmtp.testing.architectures import NumberTokenizer, engine_tokens, tiny_model


class Tokenizer(NumberTokenizer):
    special_tokens_map: ClassVar[dict[str, str]] = {}

    def get_vocab(self) -> dict[str, int]:
        return {"5": 5}


def offloaded(model: Any, place: Path) -> Any:
    accelerate.cpu_offload(model, torch.device("cpu"))
    return model


def mapped(model: Any, place: Path) -> Any:
    """One layer on disk, the others in memory, each with the hooks that bring its inputs to its device."""
    parts = {f"model.{name}": "cpu" for name, _ in model.model.named_children() if name != "layers"}
    layers = {f"model.layers.{i}": "cpu" if i else "disk" for i in range(len(model.model.layers))}
    return accelerate.dispatch_model(
        model, {**parts, **layers, "lm_head": "cpu"}, main_device="cpu", offload_dir=str(place), force_hooks=True
    )


@pytest.mark.parametrize("spread", [offloaded, mapped])
@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_a_spread_model_writes_the_same(kind: str, spread: Any, tmp_path: Path) -> None:
    whole = wmtp.engine(tiny_model(kind), Tokenizer(), batch_size=4)
    wanted = engine_tokens(whole, tokens=5)
    found = wmtp.engine(spread(tiny_model(kind), tmp_path), Tokenizer(), batch_size=4)
    assert engine_tokens(found, tokens=5) == wanted
    assert found.identity == whole.identity


def test_heads_of_an_offloaded_model_draft(folder: Path) -> None:
    loaded = load_model(folder, device="cpu")
    plain = wmtp.engine(loaded.model, loaded.tokenizer)
    wanted = plain.head_scores("def f", "(x): return x")
    offloaded(loaded.model, folder)
    found = wmtp.engine(loaded.model, loaded.tokenizer)
    assert found.drafts
    assert found.head_scores("def f", "(x): return x").loss == pytest.approx(wanted.loss)


def test_balanced_is_a_device_of_models_of_transformers(folder: Path) -> None:
    plugins = wmtp.create_plugin_manager()
    config = wmtp.load_config({"devices": {"device": "balanced"}}, plugins=plugins)
    recipe = wmtp.load_recipe({"model": {"base_id": str(folder)}}, plugins=plugins)
    assert wmtp.create_model_loader(config, recipe, plugins=plugins).load().drafts
    from wmtp.models.load import one_device

    with pytest.raises(ConfigError, match="balanced spreads models of transformers"):
        one_device("balanced")
