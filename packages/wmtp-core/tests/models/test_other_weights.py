"""Weights in other files than safetensors: pytorch_model.bin, and GGUF with the tokenizer that is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file

import wmtp
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import ConfigError, ResourceError
from wmtp.generation.engine import DecodingEngine
from wmtp.models import load_model
from wmtp.models.formats import is_meta, is_transformers
from wmtp.models.weight_files import weight_files, weight_patterns

LINES = [
    "def add(left, right):",
    "    return left + right",
    "for n in range(10): print(n, end=' ')",
    "값을 더한다",
] * 40
TEXT = "def add(x):\n    return  x\n"


def greedy(model: Any, tokenizer: Any) -> str:
    key = SampleKey(evaluator="e", problem="p", index=0)
    request = GenerationRequest(key=key, prompt="def f", max_new_tokens=12, stop=())
    return next(iter(DecodingEngine(model, tokenizer, identity={}).generate([request], Sampling(temperature=0.0)))).text


def test_a_folder_with_pytorch_model_bin_decodes_as_its_safetensors_do(folder: Path) -> None:
    before = load_model(folder)
    text = greedy(before.model, before.tokenizer)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    after = load_model(folder)
    assert greedy(after.model, after.tokenizer) == text
    assert after.identity["weights_sha256"] != before.identity["weights_sha256"]


def test_a_damaged_pytorch_model_bin_and_no_weights_at_all_are_told(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResourceError, match="cannot be loaded"):
        load_model(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ResourceError, match=r"no \*\.safetensors and no pytorch_model"):
        load_model(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A tiny Llama as a GGUF file in float32, the model that it was made from, and its SentencePiece."""
    pytest.importorskip("gguf", reason='pip install "wmtp-core[gguf]"')
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("gguf")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_prefix=str(folder / "own"), model_type="bpe", vocab_size=340,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False,
        user_defined_symbols=["▁▁▁▁", "<turn>"], minloglevel=2,
    )  # fmt: skip
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / "own.model"))
    (folder / "own.model").rename(folder / "own.pieces")  # so that only the GGUF file can be read
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=own.get_piece_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    write_gguf(folder / "tiny.gguf", model, own)
    return folder, model, own


def write_gguf(path: Path, model: Any, own: Any, kind: str = "llama") -> None:
    import gguf

    config, writer = model.config, gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model(kind)
    numbers = range(own.get_piece_size())
    kinds = ((own.is_unknown, 2), (own.is_control, 3), (own.is_byte, 6), ((3, 4).__contains__, 4))
    sorts = [next((sort for asked, sort in kinds if asked(i)), 1) for i in numbers]
    pieces = [own.id_to_piece(i) for i in numbers]
    writer.add_token_list([p.replace("▁", " ") if s == 4 else p for p, s in zip(pieces, sorts, strict=True)])
    writer.add_token_scores([own.get_score(i) for i in numbers])
    writer.add_token_types(sorts)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        heads = {"q_proj.weight": config.num_attention_heads, "k_proj.weight": config.num_key_value_heads}
        for ending, count in heads.items():
            if name.endswith(ending):  # rotary pairs lie beside one another there
                tensor = tensor.view(count, 2, -1, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
        found = table.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(str(found), tensor.contiguous().numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_decodes_as_the_model_that_it_was_made_from(made: tuple[Path, Any, Any]) -> None:
    folder, model, own = made
    found = load_model(folder)
    for text in (TEXT, "  x", "<turn>a    b", "값 é"):
        ids = found.tokenizer(text)["input_ids"]
        assert ids == [1, *own.encode(text)]
        assert found.tokenizer.decode(ids, skip_special_tokens=True) == text
    assert greedy(found.model, found.tokenizer) == greedy(model, found.tokenizer)
    assert found.identity["format"] == "gguf"
    assert found.variant == "tiny"


def test_a_gguf_folder_is_evaluated_by_a_recipe_and_a_variant_chooses_among_several(
    made: tuple[Path, Any, Any],
) -> None:
    folder, model, own = made
    plugins = wmtp.create_plugin_manager()
    write_gguf(folder / "other.gguf", model, own)
    try:
        with pytest.raises(ConfigError, match="has the GGUF files other, tiny; name one"):
            load_model(folder)
        recipe = wmtp.load_recipe({"model": {"base_id": str(folder), "variant": "other"}}, plugins=plugins)
        engine = wmtp.create_model_loader(wmtp.load_config({}, plugins=plugins), recipe, plugins=plugins).load()
        assert engine.identity["format"] == "gguf"
        assert engine.origin["variant"] == "other"
    finally:
        (folder / "other.gguf").unlink()


def test_a_tokenizer_that_a_gguf_file_only_names_is_refused_unless_its_json_lies_beside(
    made: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    _, model, own = made
    write_gguf(tmp_path / "named.gguf", model, own, kind="gpt2")
    with pytest.raises(ResourceError, match=r"tokenizer of the kind 'gpt2'.*tokenizer\.json beside it"):
        load_model(tmp_path)
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8"
    )
    assert load_model(tmp_path).tokenizer("ab")["input_ids"] == [0, 1]


def test_a_damaged_gguf_file_is_told(made: tuple[Path, Any, Any], tmp_path: Path) -> None:
    folder, *_ = made
    (tmp_path / "cut.gguf").write_bytes((folder / "tiny.gguf").read_bytes()[:2000])
    with pytest.raises(ResourceError, match=r"cut\.gguf cannot be read"):
        load_model(tmp_path)


def test_a_gguf_file_is_converted(made: tuple[Path, Any, Any], tmp_path: Path) -> None:
    from wmtp.models.convert import convert

    folder, model, _ = made
    convert(folder, tmp_path / "converted")
    again = load_model(tmp_path / "converted")
    assert again.identity["format"] == "transformers"
    assert again.tokenizer(TEXT)["input_ids"] == load_model(folder).tokenizer(TEXT)["input_ids"]
    assert greedy(again.model, again.tokenizer) == greedy(model, again.tokenizer)


def integers(tensors: dict[str, Any]) -> None:
    tensors["model.layers.0.mlp.up_proj.weight"] = (tensors["model.layers.0.mlp.up_proj.weight"] * 9).to(torch.int8)


def scaled(tensors: dict[str, Any]) -> None:
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].to(torch.float8_e4m3fn)
    tensors["model.layers.0.mlp.up_proj.weight_scale_inv"] = torch.full((1, 1), 0.1)


@pytest.mark.parametrize("change", [integers, scaled], ids=lambda f: f.__name__)
def test_weights_that_something_scales_which_config_json_is_silent_of_are_refused(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ResourceError, match=r"up_proj\.weight.*config\.json has no quantization_config"):
        load_model(folder)


def test_files_of_pytorch_that_are_missing_or_no_weights_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    torch.save(tensors, folder / names[0])
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(tensors, names[0]) | {"lm_head.weight": names[1]}}), encoding="utf-8"
    )
    with pytest.raises(
        ResourceError, match=r"00002-of-00002\.bin is missing: pytorch_model\.bin\.index\.json names it"
    ):
        load_model(folder)
    (folder / names[1]).write_bytes(b"<html>not found</html>")
    with pytest.raises(ResourceError, match=r"00002-of-00002\.bin cannot be loaded: .*damaged or cut off"):
        load_model(folder)


def test_metas_files_below_a_model_in_transformers_format_are_passed_over(folder: Path) -> None:
    """So the hub's Llama repositories are: the same model twice."""
    (folder / "original").mkdir()
    (folder / "original/params.json").write_text("{}", encoding="utf-8")
    assert is_transformers(str(folder))
    assert not is_meta(str(folder))
    (folder / "model.safetensors").unlink()
    assert is_meta(str(folder))


def test_weights_are_what_the_index_names_or_the_one_file_and_modules_beside_them(tmp_path: Path) -> None:
    def touch(*names: str) -> None:
        for name in names:
            (tmp_path / name).write_bytes(b"")

    def found() -> list[str]:
        return [path.name for path in weight_files(tmp_path)]

    touch("pytorch_model.bin")
    assert found() == ["pytorch_model.bin"]
    touch("consolidated.safetensors", "a-00001-of-00002.safetensors")
    assert found() == ["a-00001-of-00002.safetensors", "consolidated.safetensors"]  # nothing says which
    touch("model.safetensors", "model_mtp.safetensors")
    assert found() == ["model.safetensors", "model_mtp.safetensors"]
    assert weight_patterns(tmp_path) == ("model.safetensors", "*mtp*.safetensors")
    (tmp_path / "model.safetensors").unlink()
    weight_map = {"x": "a-00001-of-00002.safetensors", "y": "absent.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    assert found() == ["a-00001-of-00002.safetensors", "model_mtp.safetensors"]
    assert weight_patterns(tmp_path) == (*weight_map.values(), "*mtp*.safetensors")
