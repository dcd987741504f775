"""Models whose classes come with them as Python files: run only where the recipe says so, and then as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import wmtp
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import ResourceError
from wmtp.generation.engine import DecodingEngine
from wmtp.models import load_model

CONFIGURATION = """
from transformers import LlamaConfig

class OddConfig(LlamaConfig):
    model_type = "odd_decoder"
"""
MODELING = """
from pathlib import Path

from transformers import LlamaForCausalLM

from .configuration_odd import OddConfig

class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig

    def __init__(self, config):
        super().__init__(config)
        Path(config.marker).touch()
"""


@pytest.fixture
def odd(folder: Path, tmp_path: Path) -> Path:
    """The tiny model's folder as one whose classes are files beside it; they leave a mark when they run."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = {k: config[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(**shape, num_attention_heads=4, max_position_embeddings=128, initializer_range=0.3)
    ).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {
        "model_type": "odd_decoder",
        "architectures": ["OddForCausalLM"],
        "marker": str(tmp_path / "ran"),
        "auto_map": {
            "AutoConfig": "configuration_odd.OddConfig",
            "AutoModelForCausalLM": "modeling_odd.OddForCausalLM",
        },
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "configuration_odd.py").write_text(CONFIGURATION, encoding="utf-8")
    (folder / "modeling_odd.py").write_text(MODELING, encoding="utf-8")
    return folder


def greedy(model: Any, tokenizer: Any, identity: dict[str, str]) -> str:
    engine = DecodingEngine(model, tokenizer, identity=identity)
    key = SampleKey(evaluator="e", problem="p", index=0)
    request = GenerationRequest(key=key, prompt="def f", max_new_tokens=12, stop=())
    return next(iter(engine.generate([request], Sampling(temperature=0.0)))).text


def test_files_that_come_with_a_model_are_not_run_unless_the_recipe_says_so(odd: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ResourceError, match=r"odd_decoder is a class that comes with the model.*model\.trust_remote_code: true"
    ):
        load_model(odd)
    assert not (tmp_path / "ran").exists()


def test_trusted_files_decode_as_generate_does_and_are_part_of_the_identity(odd: Path, tmp_path: Path) -> None:
    found = load_model(odd, trust_remote_code=True)
    assert (tmp_path / "ran").exists()
    ids = torch.tensor([found.tokenizer("def f")["input_ids"]])
    whole = found.model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0, ids.shape[1] :].tolist()
    text = greedy(found.model, found.tokenizer, dict(found.identity))
    assert text == found.tokenizer.decode(whole, skip_special_tokens=True)
    assert found.identity["trust_remote_code"] == "true"
    with (odd / "modeling_odd.py").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert load_model(odd, trust_remote_code=True).identity["config_sha256"] != found.identity["config_sha256"]


def test_the_key_reaches_the_loader_from_a_recipe(odd: Path) -> None:
    plugins = wmtp.create_plugin_manager()
    recipe = wmtp.load_recipe({"model": {"base_id": str(odd), "trust_remote_code": True}}, plugins=plugins)
    engine = wmtp.create_model_loader(wmtp.load_config({}, plugins=plugins), recipe, plugins=plugins).load()
    assert engine.identity["trust_remote_code"] == "true"
