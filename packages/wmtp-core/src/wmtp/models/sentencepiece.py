"""Tokenizers whose only file is a SentencePiece model, with the ids and the texts of SentencePiece itself.

transformers converts such a file by rules of the class that ``tokenizer_class`` or ``model_type`` names: the same file gives
other ids under other names, loses a leading space in some, and gets no ``<s>`` in most. What a model was trained with is what
the file says, so here the file is asked.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from wmtp import json_text
from wmtp.errors import PluginError, ResourceError, first_line

NUMBERED_ANEW = frozenset(
    (
        *(
            "XGLM",
            "Camembert",
            "XLMRoberta",
            "XLMProphetNet",
            "LayoutXLM",
            "MBart",
            "MBart50",
            "Barthez",
            "Bartpho",
            "PLBart",
        ),
        *(
            "M2M100",
            "Nllb",
            "Seamless",
            "Pegasus",
            "BigBirdPegasus",
            "Speech2Text",
            "ErnieM",
            "Cpm",
            "RemBert",
            "Marian",
        ),
    )
)
"""Classes of transformers (without ``Tokenizer``) that number the pieces by a rule of their own, which no file holds."""
OWN_TEXT = frozenset({"GPTSw3"})
"""Classes that change a text before SentencePiece sees it, as their models were trained."""
_PROBE = "def f(x):\n    if x:\n        return  [x, 1]\n"
_WHOLE = ("tokenizer.json", "vocab.json", "tekken.json")
_FILES = ("*.model", "*.spm")


def sentencepiece_file(folder: Path) -> Path | None:
    """The SentencePiece file that is a folder's whole tokenizer; ``None`` where there is another, or none.

    Raises:
        PluginError: there is one, and the library that reads it is not installed.
    """
    if any((folder / name).is_file() for name in _WHOLE):
        return None
    found = (path for pattern in _FILES for path in sorted(folder.glob(pattern)))
    return next((path for path in found if processor(path) is not None), None)


def processor(path: Path) -> Any:
    """The file as SentencePiece reads it; ``None`` where it is no file of SentencePiece's."""
    try:
        for name in ("sentencepiece", "google.protobuf"):
            import_module(name)
    except ImportError as error:
        raise PluginError(f'reading {path} needs {error.name}: pip install "wmtp-core[torch]"') from None
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):
        return None


def class_name(folder: Path) -> str:
    """The folder's tokenizer class without ``Tokenizer`` and ``Fast``; by its model's type where it names none."""
    told = read_object(folder / "tokenizer_config.json").get("tokenizer_class")
    if isinstance(told, str) and told:
        return told.removesuffix("Fast").removesuffix("Tokenizer")
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    named = TOKENIZER_MAPPING_NAMES.get(str(read_object(folder / "config.json").get("model_type")))
    return str(named or "").removesuffix("Fast").removesuffix("Tokenizer")


def read_object(path: Path) -> dict[str, Any]:
    try:
        found = json_text.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def load_sentencepiece(path: Path) -> Any:
    """A tokenizer of transformers' interface over a SentencePiece file and the configuration beside it.

    Args:
        path: the file. ``tokenizer_config.json`` beside it may set special tokens, ``add_bos_token`` (true where the file
            has such a token), ``add_eos_token`` (false), ``legacy`` and a chat template, as transformers reads them.

    Raises:
        ResourceError: the ids or the texts cannot be made right: the class numbers pieces by a rule that is not in the file, or
            the file's normaliser drops spaces or line ends, without which no program comes back.
    """
    name = class_name(path.parent)
    if name in NUMBERED_ANEW:
        raise ResourceError(
            f"{path} cannot be used alone: {name}Tokenizer numbers its pieces by a rule of its own that transformers 5 no "
            "longer applies to this file. Put the tokenizer.json of this model beside it"
        )
    from wmtp.models.sentencepiece_tokenizer import tokenizer_class  # its base imports transformers

    try:
        tokenizer = tokenizer_class(path.name, name).from_pretrained(str(path.parent))
    except Exception as error:  # transformers raises what it likes for what the files beside it say
        raise ResourceError(
            f"{path} cannot be used with what the files beside it say (tokenizer_config.json, special_tokens_map.json, "
            f"added_tokens.json): {type(error).__name__}: {first_line(error)}"
        ) from error
    back = tokenizer.decode(tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
    if back != _PROBE:
        raise ResourceError(
            f"{path} does not give a program back: {_PROBE!r} becomes {back!r}, because its normaliser drops spaces or its "
            "pieces lack characters. A model with this tokenizer cannot write Python; check that it is the model's own"
        )
    return tokenizer
