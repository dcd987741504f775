"""Tokenizers are what their files say: SentencePiece's own ids and texts, and tokenizer.json's, whatever class is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from wmtp.errors import ResourceError
from wmtp.generation.text import Continuation
from wmtp.models.sentencepiece import load_sentencepiece, sentencepiece_file
from wmtp.models.tokenizer import load_tokenizer

LINES = [
    "def add(left, right):",
    "    return left + right",
    "class Stack(list):",
    "  def peek(self): return self[-1]",
    "for number in range(10): print(number, end=' ')",
    "값을 더한다",
]
CODE = "def f(x):\n    if x:\n        return  [x]\n\n  # odd"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SentencePiece files of our own: BPE as Llama's, one without a prefix, unigram, and one that drops spaces."""
    folder = tmp_path_factory.mktemp("pieces")
    base = {"vocab_size": 330, "byte_fallback": True, "hard_vocab_limit": False, "minloglevel": 2}
    exact = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    kinds = {
        "bpe": {"model_type": "bpe", **exact},
        "bare": {"model_type": "bpe", "add_dummy_prefix": False, "user_defined_symbols": ["<turn>"], **exact},
        "unigram": {"model_type": "unigram", **exact},
        "lossy": {"model_type": "bpe"},
    }
    for name, options in kinds.items():
        prefix = str(folder / name)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(LINES * 40), model_prefix=prefix, **base, **options
        )
    return folder


def folder_of(path: Path, pieces: Path, config: dict[str, Any] | None = None, kind: str = "llama") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    shutil.copy(pieces, path / "tokenizer.model")
    (path / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    if config is not None:
        (path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


NAMED = [
    None,
    {},
    *({"tokenizer_class": f"{name}Tokenizer"} for name in ("Llama", "CodeLlama", "Gemma", "Qwen2", "T5")),
]


@pytest.mark.parametrize("pieces", ["bpe", "bare", "unigram"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "gpt2"])
def test_a_sentencepiece_file_gives_its_own_ids_whatever_class_and_model_are_named(
    trained: Path, tmp_path: Path, pieces: str, kind: str
) -> None:
    own = sentencepiece.SentencePieceProcessor(model_file=str(trained / f"{pieces}.model"))
    for number, config in enumerate(NAMED):
        tokenizer = load_tokenizer(folder_of(tmp_path / str(number), trained / f"{pieces}.model", config, kind))
        for text in (CODE, " x", "  return x", "\n", "값 é", ""):
            ids = tokenizer(text)["input_ids"]
            assert ids == [own.bos_id(), *own.encode(text)], (config, text)
            assert tokenizer.decode(ids, skip_special_tokens=True) == text


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from(" \n\t(:="))
)
def test_any_text_comes_back_and_has_sentencepieces_ids(trained: Path, text: str) -> None:
    path = trained / "bpe.model"
    own = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tokenizer = made.setdefault(path, load_sentencepiece(path)) if path not in made else made[path]
    if any(token in text for token in ("<s>", "</s>", "<unk>")):
        return  # those are control tokens to a chat template, and letters to SentencePiece
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == own.encode(text)
    assert tokenizer.decode(ids) == own.decode(ids)


made: dict[Path, Any] = {}


def test_metas_file_gives_the_ids_that_the_issue_names(shared: Path, tmp_path: Path) -> None:
    for config in (None, {"tokenizer_class": "LlamaTokenizer"}):
        folder = folder_of(tmp_path / str(bool(config)), shared / "data/meta-mtp-tiny/tokenizer.model", config)
        tokenizer = load_tokenizer(folder)
        assert tokenizer("def f(x):")["input_ids"][:5] == [1, 319, 274, 436, 465]
        assert tokenizer.decode(tokenizer("  return x")["input_ids"], skip_special_tokens=True) == "  return x"


def test_an_indented_continuation_keeps_its_first_spaces(trained: Path) -> None:
    tokenizer = load_sentencepiece(trained / "bpe.model")
    prompt = tokenizer("def f(x):\n")["input_ids"]
    whole = tokenizer("def f(x):\n    return x")["input_ids"]
    assert whole[: len(prompt)] == prompt
    assert Continuation(tokenizer, prompt, ()).text(whole[len(prompt) :]) == "    return x"


@pytest.mark.parametrize("legacy", [True, False])
def test_special_tokens_of_the_configuration_are_one_id_and_left_out_of_texts(
    trained: Path, tmp_path: Path, legacy: bool
) -> None:
    pieces = trained / "bpe.model"
    own = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    turn = own.get_piece_size()
    config = {"legacy": legacy, "added_tokens_decoder": {str(turn): {"content": "<|turn|>", "special": True}}}
    tokenizer = load_tokenizer(folder_of(tmp_path / "a", pieces, config))
    ids = tokenizer("x<|turn|>r")["input_ids"]
    behind = own.encode("r") if legacy else [own.piece_to_id("r")]
    assert ids == [own.bos_id(), *own.encode("x"), turn, *behind]
    assert tokenizer.decode(ids, skip_special_tokens=True) == ("x r" if legacy else "xr")
    assert tokenizer.decode(ids[1:]) == "x<|turn|>r"


def test_a_saved_tokenizer_is_the_same_one(trained: Path, tmp_path: Path) -> None:
    config = {
        "add_bos_token": False,
        "add_eos_token": True,
        "legacy": False,
        "chat_template": "{{ messages[0].content }}",
    }
    first = load_tokenizer(folder_of(tmp_path / "a", trained / "bpe.model", config))
    first.save_pretrained(tmp_path / "b")
    second = load_tokenizer(tmp_path / "b")
    for text in (CODE, "x</s> y", " a"):
        assert first(text)["input_ids"] == second(text)["input_ids"]
    assert first(CODE)["input_ids"][-1] == first.eos_token_id
    assert second.chat_template == first.chat_template


def test_a_normaliser_that_drops_spaces_is_refused_with_what_becomes_of_a_program(
    trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(ResourceError, match="does not give a program back"):
        load_tokenizer(folder_of(tmp_path / "a", trained / "lossy.model"))


def test_a_class_that_numbers_pieces_by_a_rule_of_its_own_is_refused_by_name(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="XGLMTokenizer numbers its pieces"):
        load_tokenizer(folder_of(tmp_path / "a", trained / "bpe.model", None, "xglm"))


def test_a_damaged_file_and_no_file_are_told(trained: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", trained / "bpe.model")
    whole = (folder / "tokenizer.model").read_bytes()
    (folder / "tokenizer.model").write_bytes(whole[: len(whole) // 2])
    assert sentencepiece_file(folder) is None
    with pytest.raises(ResourceError, match="no tokenizer that transformers can load"):
        load_tokenizer(folder)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(ResourceError, match="no tokenizer that transformers can load"):
        load_tokenizer(folder)


def test_a_library_that_fails_without_a_word_is_told_by_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", fail)
    with pytest.raises(ResourceError, match=r"transformers can load.*NotImplementedError: $"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2", "gemma", "mistral"])
@pytest.mark.parametrize("named", [None, "Llama", "CodeLlama", "Qwen2", "GPT2", "Gemma", "T5"])
def test_a_tokenizer_json_is_followed_whatever_class_is_named(tmp_path: Path, kind: str, named: str | None) -> None:
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    own.train_from_iterator(
        LINES * 40, trainers.BpeTrainer(vocab_size=320, initial_alphabet=letters, show_progress=False)
    )
    own.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    if named:
        config = {"tokenizer_class": f"{named}Tokenizer"}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    ids = tokenizer(CODE, add_special_tokens=False)["input_ids"]
    assert ids == own.encode(CODE).ids
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == CODE


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"tokenizer.json": "{"}, r"tokenizer\.json is damaged: it holds no JSON object"),
        ({"tokenizer_config.json": "[]"}, r"tokenizer_config\.json is damaged"),
        ({"added_tokens.json": "nothing"}, r"added_tokens\.json is damaged"),
        ({"tokenizer_config.json": '{"model_max_length": "2048"}'}, "model_max_length is '2048', which is no number"),
        ({"tokenizer_config.json": '{"eos_token": 2}'}, r"beside it say \(tokenizer_config\.json.*TypeError"),
        ({"tokenizer.model": None}, "no tokenizer that transformers can load"),
        (
            {
                "tokenizer.model": None, "qwen.tiktoken": "IQ== 0\n",
                "tokenizer_config.json": '{"tokenizer_class": "Qwen2Tokenizer"}',
            },
            "a Qwen2Tokenizer without any token of these files",
        ),
    ],
)  # fmt: skip
def test_files_of_a_tokenizer_that_cannot_be_followed_are_told(
    trained: Path, tmp_path: Path, files: dict[str, str | None], says: str
) -> None:
    """A class of transformers without the file that it looks for has no tokens, and would encode every prompt as nothing."""
    folder = folder_of(tmp_path / "a", trained / "bpe.model")
    for name, content in files.items():
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(ResourceError, match=says):
        load_tokenizer(folder)
