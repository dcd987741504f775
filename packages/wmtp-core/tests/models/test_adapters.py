"""Adapters of peft: run with the model that they belong to, wherever that is, or told in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import wmtp
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import ConfigError, PluginError, ResourceError, WmtpError
from wmtp.models import load_model

Made = tuple[Path, Any]


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> Made:
    """A tiny Llama in a folder, a LoRA adapter of it in another, and the model with that one beside its matrices."""
    import peft
    from transformers import LlamaConfig, LlamaForCausalLM

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = {k: config[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    torch.manual_seed(0)
    own = LlamaConfig(**shape, num_attention_heads=4, max_position_embeddings=128, initializer_range=0.3)
    LlamaForCausalLM(own).save_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    lora = peft.LoraConfig(
        r=4,
        lora_alpha=32,
        target_modules=["q_proj", "v_proj", "down_proj"],
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    adapted = peft.get_peft_model(model, lora)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", adapted.eval()


def edit(adapter: Path, **keys: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **keys}), encoding="utf-8")


def engine(reference: str | Path, config: dict[str, Any] | None = None) -> Any:
    plugins = wmtp.create_plugin_manager()
    recipe = wmtp.load_recipe({"model": {"base_id": str(reference)}}, plugins=plugins)
    return wmtp.create_model_loader(wmtp.load_config(config or {}, plugins=plugins), recipe, plugins=plugins).load()


def tokens(made: Any) -> list[int]:
    key = SampleKey(evaluator="e", problem="p", index=0)
    request = GenerationRequest(key=key, prompt="def f", max_new_tokens=12)
    return list(next(iter(made.generate([request], Sampling(temperature=0.0)))).token_ids)


def test_an_adapter_writes_what_peft_writes_and_not_what_its_base_does(made: Made, folder: Path) -> None:
    adapter, adapted = made
    found, base = engine(adapter), engine(folder)
    ids = torch.tensor([base._tokenizer("def f")["input_ids"]])
    with torch.inference_mode():
        wanted = adapted.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
    assert tokens(found) == wanted[0, ids.shape[1] :].tolist()
    assert tokens(found) != tokens(base)
    assert found.identity["format"] == "transformers with LORA"
    for key in ("weights_sha256", "config_sha256"):
        assert found.identity[key] != base.identity[key]
    assert not [name for name, _ in load_model(adapter).model.named_parameters() if "lora" in name], "it is merged"


def test_the_base_is_found_beside_the_adapter_or_as_the_copy_that_a_config_names(
    made: Made, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, _ = made
    wanted = tokens(engine(adapter))
    edit(adapter, base_model_name_or_path="../model")
    assert tokens(engine(adapter)) == wanted
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    edit(adapter, base_model_name_or_path="someone/tiny")
    copy = {"paths": {"models": {"base_local": {"id": "someone/tiny", "path": str(folder)}}}}
    assert tokens(engine(adapter, copy)) == wanted


def test_a_base_that_is_not_to_be_had_is_told_with_what_to_do(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, _ = made
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for base in ("someone/absent", "./no/such/folder", "/no/such/folder"):
        edit(adapter, base_model_name_or_path=base)
        with pytest.raises(ResourceError) as told:
            engine(adapter)
        text = str(told.value)
        assert f"is an adapter of the model '{base}', which is not to be had" in text
        assert "base_model_name_or_path" in text
        assert "paths.models.base_local" in text


def cut_off(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:200])


def without_weights(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()


def of_wider_matrices(adapter: Path) -> None:
    _change(adapter, lambda name, t: torch.zeros(t.shape[0], 40) if "q_proj.lora_A" in name else t)


def with_a_tensor_too_many(adapter: Path) -> None:
    _change(
        adapter,
        lambda name, t: t,
        extra={"base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight": torch.ones(4)},
    )


def without_a_tensor(adapter: Path) -> None:
    _change(adapter, lambda name, t: None if "layers.1.self_attn.v_proj.lora_B" in name else t)


def with_values_that_are_not_finite(adapter: Path) -> None:
    _change(adapter, lambda name, t: t * float("nan"))


def _change(adapter: Path, to: Callable[[str, Any], Any], extra: dict[str, Any] | None = None) -> None:
    from safetensors.torch import load_file, save_file

    file = adapter / "adapter_model.safetensors"
    changed = {name: to(name, t) for name, t in load_file(file).items()}
    save_file({name: t for name, t in {**changed, **(extra or {})}.items() if t is not None}, file)


def of_other_modules(adapter: Path) -> None:
    edit(adapter, target_modules=["c_attn"])


def of_no_base(adapter: Path) -> None:
    edit(adapter, base_model_name_or_path=None)


def of_prompts(adapter: Path) -> None:
    edit(adapter, peft_type="PROMPT_TUNING")


def of_a_kind_to_come(adapter: Path) -> None:
    edit(adapter, peft_type="LORA9")


def no_json(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text("{", encoding="utf-8")


DAMAGES: dict[Callable[[Path], None], str] = {
    cut_off: r"adapter_model\.safetensors cannot be loaded: it is cut off or damaged .* fetch it again",
    without_weights: r"has an adapter_config\.json but no weights",
    of_wider_matrices: r"cannot be put into .*size mismatch",
    with_a_tensor_too_many: r"the model has no place for .*layers\.9",
    without_a_tensor: r"it lacks .*layers\.1\.self_attn\.v_proj\.lora_B",
    with_values_that_are_not_finite: r"cannot be put into .*(?i:nan)",
    of_other_modules: r"cannot be put into .*c_attn",
    of_no_base: r"names no model that the adapter belongs to",
    of_prompts: r"of the kind PROMPT_TUNING stands beside a model",
    of_a_kind_to_come: r"knows no adapters of the kind 'LORA9'",
    no_json: r"adapter_config\.json cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_an_adapter_that_is_damaged_or_does_not_fit_is_one_line(made: Made, damage: Callable[[Path], None]) -> None:
    adapter, _ = made
    damage(adapter)
    with pytest.raises(ResourceError, match=DAMAGES[damage]) as told:
        engine(adapter)
    assert "\n" not in str(told.value)


def test_tokens_that_were_added_in_training_get_their_rows(folder: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = {k: config[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    own = LlamaConfig(**shape, num_attention_heads=4, max_position_embeddings=128, initializer_range=0.3)
    LlamaForCausalLM(own).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<turn>"])
    model = LlamaForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    lora = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    adapted = peft.get_peft_model(model, lora)
    adapted.base_model.model.lm_head.weight.data[-1] = 7.0
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    found = load_model(tmp_path / "adapter")
    assert found.model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert torch.equal(found.model.lm_head.weight, adapted.base_model.model.lm_head.weight)
    assert found.tokenizer("<turn>")["input_ids"] == [len(tokenizer) - 1]


def test_a_model_and_an_adapter_in_one_folder_are_not_guessed_between(made: Made, folder: Path) -> None:
    adapter, _ = made
    wanted = tokens(engine(folder))
    shutil.copy(adapter / "adapter_config.json", folder)
    edit(folder, base_model_name_or_path="/no/such/folder")
    assert tokens(engine(folder)) == wanted, "what only describes an adapter changes nothing"
    shutil.copy(adapter / "adapter_model.safetensors", folder)
    with pytest.raises(ConfigError, match=r"holds a whole model \(model\.safetensors\) and an adapter"):
        engine(folder)


def test_peft_that_is_missing_is_told_before_the_base_is_asked_for(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    import wmtp.models.adapter

    adapter, _ = made
    edit(adapter, base_model_name_or_path="someone/absent")
    monkeypatch.setattr(wmtp.models.adapter, "find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r'needs peft: pip install "wmtp-core\[torch,adapters\]"'):
        engine(adapter)


def test_a_base_that_cannot_be_decoded_is_refused_by_its_config_alone(made: Made, tmp_path: Path) -> None:
    adapter, _ = made
    base = tmp_path / "encoder"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"model_type": "t5"}), encoding="utf-8")
    edit(adapter, base_model_name_or_path=str(base))
    with pytest.raises(WmtpError, match="t5 is an encoder and a decoder"):
        engine(adapter)


def test_an_adapter_is_converted_to_a_folder_that_needs_no_peft(made: Made, tmp_path: Path) -> None:
    from wmtp.models.convert import convert

    adapter, _ = made
    convert(adapter, tmp_path / "whole")
    assert not (tmp_path / "whole/adapter_config.json").exists()
    assert tokens(engine(tmp_path / "whole")) == tokens(engine(adapter))
