"""Folders in transformers format: what is wrong with one is said before a sample is drawn; what is right with one works."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import ResourceError
from wmtp.generation.engine import DecodingEngine
from wmtp.models import load_model
from wmtp.models.causal import check_early
from wmtp.models.mtp_llama import MtpLlamaForCausalLM

Make = Callable[..., MtpLlamaForCausalLM]
PROMPTS = ("def f(x):", "x")


def decode(model: Any, tokenizer: Any) -> dict[str, str]:
    engine = DecodingEngine(model, tokenizer, identity={})
    wanted = [
        GenerationRequest(key=SampleKey(evaluator="e", problem=p, index=0), prompt=p, max_new_tokens=12, stop=())
        for p in PROMPTS
    ]
    return {c.key.problem: c.text for c in engine.generate(wanted, Sampling(temperature=0.0))}


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def fewer_layers(folder: Path) -> None:
    configure(folder, num_hidden_layers=1)


def more_layers(folder: Path) -> None:
    configure(folder, num_hidden_layers=4)


def fewer_heads(folder: Path) -> None:
    configure(folder, n_future_tokens=2)


def wider(folder: Path) -> None:
    configure(folder, intermediate_size=96)


def one_tensor_less(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def cut_off(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def other_bytes_in_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def more_tokens(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<more{i}>" for i in range(9)])
    tokenizer.save_pretrained(folder)


DAMAGES = {
    fewer_layers: r"tensors that config\.json has no place for: .*model\.layers\.1\.",
    more_layers: r"tensors that the weights lack: model\.layers\.2\.\S+, .* and \d+ more",
    fewer_heads: r"no place for: extra_heads\.1\.",
    wider: r"other shapes than config\.json says: extra_heads\.0\.mlp\.down_proj\.weight .*64.*96",
    one_tensor_less: r"weights lack: model\.layers\.1\.mlp\.up_proj\.weight\. They belong",
    cut_off: "cannot be loaded",
    no_tokenizer: "no tokenizer that transformers can load",
    other_bytes_in_a_pickle: r"pytorch_model\.bin.* Python objects, or is damaged",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_what_does_not_fit_is_named(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    with pytest.raises(ResourceError, match=DAMAGES[damage]) as told:
        load_model(folder, device="cpu")
    assert str(folder) in str(told.value)


def test_tied_weights_are_not_missing(folder: Path, tiny: Make) -> None:
    tiny(tie_word_embeddings=True).save_pretrained(folder)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert load_model(folder, device="cpu").model.lm_head.weight.shape == (259, 32)


def test_the_identity_is_of_content_and_not_of_place(folder: Path, tmp_path: Path) -> None:
    one = load_model(folder, device="cpu").identity
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert load_model(tmp_path / "elsewhere", device="cpu").identity == one
    (tmp_path / "elsewhere/generation_config.json").write_text('{"eos_token_id": 65}', encoding="utf-8")
    assert load_model(tmp_path / "elsewhere", device="cpu").identity != one


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_types_decode(folder: Path, dtype: str) -> None:
    loaded = load_model(folder, device="cpu", dtype=dtype)
    assert loaded.model.dtype == getattr(torch, dtype)
    assert loaded.identity["dtype"] == dtype
    assert len(decode(loaded.model, loaded.tokenizer)) == len(PROMPTS)


def test_a_device_map_places_it(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    plain = load_model(folder, device="cpu")
    placed = AutoModelForCausalLM.from_pretrained(folder, device_map={"": "cpu"}, dtype=torch.float32).eval()
    assert isinstance(placed, MtpLlamaForCausalLM)
    assert decode(placed, plain.tokenizer) == decode(plain.model, plain.tokenizer)


def test_generate_and_all_heads_agree_with_the_cache(tiny: Make) -> None:
    """transformers' own generate on head 0, and all heads step by step over a cache, against one dense forward."""
    from transformers import DynamicCache

    model = tiny()
    ids = torch.randint(3, 259, (2, 9))
    with torch.inference_mode():
        dense = model(ids, return_all_heads=True).logits
        cache = DynamicCache()
        steps = [
            model(ids[:, i : i + 1], return_all_heads=True, past_key_values=cache).logits for i in range(ids.shape[1])
        ]
        new = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False, pad_token_id=0
        )
        again = model(new, return_all_heads=True).logits[:, 8:13, 0].argmax(-1)
    assert dense.shape == (2, 9, 3, 259)
    torch.testing.assert_close(torch.cat(steps, 1), dense, atol=2e-5, rtol=0)
    assert torch.equal(again[:, 0], new[:, 9])


def test_gradient_checkpointing_changes_no_gradient(tiny: Make) -> None:
    ids = torch.randint(3, 259, (2, 9))
    found = []
    for checkpointing in (False, True):
        model = tiny().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(ids, return_all_heads=True).logits.square().mean().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() == dict(tiny().named_parameters()).keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], msg=name)


def test_peft_trains_adapters_of_trunk_and_heads(tiny: Make, folder: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny(), LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
    ids = torch.randint(3, 259, (2, 9))
    model(ids, return_all_heads=True).logits.square().mean().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert any("extra_heads.1" in name for name in trained)
    assert all("lora_" in name for name in trained)
    # Adapters start at zero: merged, it is the model it was.
    merged = model.merge_and_unload().eval()
    loaded = load_model(folder, device="cpu")
    assert decode(merged, loaded.tokenizer) == decode(loaded.model, loaded.tokenizer)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", "[1]", "holds no object"),
        ("config.json", {"num_hidden_layers": 0}, r"num_hidden_layers is 0; a model has one at least"),
        ("config.json", {"num_hidden_layers": 4, "layer_types": ["full_attention"]}, r"says what 1 of them are"),
        ("config.json", {"hidden_size": "32"}, r"'hidden_size'.*expected int, got str"),
        (
            "config.json",
            {"model_type": "qwen99"},
            r"transformers \S+ knows no model type qwen99.* A newer transformers may",
        ),
        ("generation_config.json", "{", r"generation_config\.json is damaged: it holds no JSON object"),
    ],
)
def test_what_small_files_say_wrongly_is_told_in_one_line(folder: Path, file: str, content: Any, says: str) -> None:
    if isinstance(content, dict):
        content = json.dumps({**json.loads((folder / file).read_text(encoding="utf-8")), **content})
    (folder / file).write_text(content, encoding="utf-8")
    early = (check_early,) if file == "config.json" and isinstance(json.loads(content), dict) else ()
    for look in (*early, load_model):  # the first before weights are fetched
        with pytest.raises(ResourceError, match=says) as told:
            look(folder)
        assert "\n" not in str(told.value)
