"""GGUF files: one file with a model's weights, quantised or not, and its tokenizer. The format is ggml's.

transformers reads the weights (and gives quantised ones back as floats). Of the tokenizer it rebuilds something alike; what the
file holds of a SentencePiece model are its pieces, scores and kinds, so that one is put together again and asked itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wmtp.errors import ConfigError, PluginError, ResourceError, first_line
from wmtp.models.sentencepiece import load_sentencepiece
from wmtp.models.tokenizer import load_tokenizer


def gguf_file(folder: Path, variant: str | None) -> Path | None:
    """The folder's GGUF file; `variant` is the name of one among several, without its ending. ``None`` where there is none.

    Raises:
        ConfigError: there are several, and no variant chooses.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.gguf"))}
    if not found or variant in found:
        return found.get(variant or "")
    if len(found) == 1 and variant is None:
        return next(iter(found.values()))
    asked = "name one" if variant is None else f"{variant!r} is none of them"
    raise ConfigError(f"{folder} has the GGUF files {', '.join(found)}; {asked} (model.variant in a recipe)")


def load_gguf(path: Path, *, dtype: Any, device: str) -> tuple[Any, Any]:
    """A GGUF file → model and tokenizer.

    Args:
        path: the file. A tokenizer.json beside it is used instead of what the file holds.
        dtype: of torch; ``None`` is float32, which quantised weights become.
        device: a torch name.

    Raises:
        PluginError: the library that reads the format is not installed.
        ResourceError: the file is damaged, or of a model or tokenizer that is not read.
    """
    if missing := [name for name in ("gguf", "sentencepiece") if find_spec(name) is None]:
        raise PluginError(f'reading {path} needs {" and ".join(missing)}: pip install "wmtp-core[torch,gguf]"')
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from wmtp.models.causal import refusal

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        config = AutoConfig.from_pretrained(**where)
    except Exception as error:  # transformers and gguf raise what they like for a damaged or unknown file
        raise ResourceError(f"{path} cannot be read: {_line(error)}") from error
    if why := refusal(config):
        raise ResourceError(f"{path}: {why}")
    tokenizer = _tokenizer(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=dtype or torch.float32, device_map=device)
    except Exception as error:
        raise ResourceError(f"the model in {path} cannot be loaded: {_line(error)}") from error
    # Its weights are floats now, and it is to be saved, adapted and known as such.
    if getattr(model.config, "quantization_config", None) is not None:
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    return model.eval(), tokenizer


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _tokenizer(path: Path) -> Any:
    if (path.parent / "tokenizer.json").is_file():
        return load_tokenizer(path.parent)
    from gguf import GGUFReader

    fields = GGUFReader(str(path)).fields
    held = {name: field.contents() for name, field in fields.items() if name.startswith("tokenizer.")}
    kind = held.get("tokenizer.ggml.model")
    if kind != "llama":
        raise ResourceError(
            f"{path} holds a tokenizer of the kind {kind!r}, whose rules for splitting a text it only names. Put the model's "
            "tokenizer.json beside it (the repository that it was made from has one)"
        )
    with TemporaryDirectory(prefix="wmtp-") as place:
        folder = Path(place)
        (folder / "tokenizer.model").write_bytes(_pieces(held))
        names: Sequence[str] = held["tokenizer.ggml.tokens"]
        told = {
            "add_bos_token": held.get("tokenizer.ggml.add_bos_token", True),
            "chat_template": held.get("tokenizer.chat_template"),
            "added_tokens_decoder": {
                str(number): {"content": names[number], "special": True}
                for number, sort in enumerate(held["tokenizer.ggml.token_type"])
                if sort == _CONTROL
            },
        }
        for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
            if (number := held.get(f"tokenizer.ggml.{key}_token_id")) is not None:
                told[f"{role}_token"] = names[number]
        config = {key: value for key, value in told.items() if value is not None}
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return load_sentencepiece(folder / "tokenizer.model")


_CONTROL, _GIVEN = 3, 4  # SentencePiece's numbers for kinds of pieces, which GGUF keeps


def _pieces(held: dict[str, Any]) -> bytes:
    """The SentencePiece model that a GGUF file was made from, as far as it decides ids and texts."""
    from sentencepiece import sentencepiece_model_pb2 as proto

    model = proto.ModelProto()
    columns = zip(
        held["tokenizer.ggml.tokens"], held["tokenizer.ggml.scores"], held["tokenizer.ggml.token_type"], strict=True
    )
    for text, score, sort in columns:
        # ggml writes the spaces of symbols that the trainer was given as they are
        piece = text.replace(" ", "▁") if sort == _GIVEN else text
        model.pieces.add(piece=piece, score=score, type=sort)
    model.trainer_spec.model_type = proto.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        number = held.get(f"tokenizer.ggml.{key}_token_id", -1)
        setattr(model.trainer_spec, f"{role}_id", number)
        if number >= 0:
            setattr(model.trainer_spec, f"{role}_piece", held["tokenizer.ggml.tokens"][number])
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = bool(held.get("tokenizer.ggml.add_space_prefix", True))
    model.normalizer_spec.remove_extra_whitespaces = bool(held.get("tokenizer.ggml.remove_extra_whitespaces", False))
    whole: bytes = model.SerializeToString()
    return whole
