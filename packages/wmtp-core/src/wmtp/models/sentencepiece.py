"""Tokenizers whose only file is a SentencePiece model, with the ids and the texts of SentencePiece itself.

transformers converts such a file by rules of the class that ``tokenizer_class`` or ``model_type`` names: the same file gives
other ids under other names, loses a leading space in some, and gets no ``<s>`` in most. What a model was trained with is what
the file says, so here the file is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from wmtp.errors import PluginError, ResourceError

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


def sentencepiece_file(folder: Path) -> Path | None:
    """The SentencePiece file that is a folder's whole tokenizer; ``None`` where there is another, or none.

    Raises:
        PluginError: there is one, and the library that reads it is not installed.
    """
    if any((folder / name).is_file() for name in _WHOLE):
        return None
    for path in sorted(folder.glob("*.model")):
        if _processor(path) is not None:
            return path
    return None


def _processor(path: Path) -> Any:
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
    told = _json(folder / "tokenizer_config.json").get("tokenizer_class")
    if isinstance(told, str) and told:
        return told.removesuffix("Fast").removesuffix("Tokenizer")
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    named = TOKENIZER_MAPPING_NAMES.get(str(_json(folder / "config.json").get("model_type")))
    return str(named or "").removesuffix("Fast").removesuffix("Tokenizer")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
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
    tokenizer = _tokenizer_class(path).from_pretrained(str(path.parent))
    back = tokenizer.decode(tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
    if back != _PROBE:
        raise ResourceError(
            f"{path} does not give a program back: {_PROBE!r} becomes {back!r}, because its normaliser drops spaces or its "
            "pieces lack characters. A model with this tokenizer cannot write Python; check that it is the model's own"
        )
    return tokenizer


def _tokenizer_class(path: Path) -> Any:
    """A class over this one file. Made when it is asked for, because its base imports transformers."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

    name = class_name(path.parent)

    class SentencePieceTokenizer(SentencePieceBackend):  # type: ignore[misc]  # it has no types
        vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": path.name}

        def __init__(self, **kwargs: Any) -> None:
            file = _processor(Path(kwargs["vocab_file"]))
            for role in ("bos", "eos", "unk", "pad"):
                number = getattr(file, f"{role}_id")()
                if number >= 0:
                    kwargs[f"{role}_token"] = kwargs.get(f"{role}_token") or file.id_to_piece(number)
            told = {
                "legacy": kwargs.pop("legacy", None) is not False,
                "add_bos_token": kwargs.pop("add_bos_token", None) is not False,
                "add_eos_token": kwargs.pop("add_eos_token", None) is True,
            }
            super().__init__(**kwargs, legacy=True)  # whatever was told: the base would change the file's own prefix
            self.legacy, self.add_bos_token, self.add_eos_token = told.values()
            self._told = told
            known = set(self.all_special_tokens)  # the base forgets that a token of added_tokens_decoder may be special
            found = self._added_tokens_decoder.values()
            self._extra_special_tokens += [token for token in found if token.special and token.content not in known]
            model = sentencepiece_model_pb2.ModelProto.FromString(file.serialized_model_proto())
            # `legacy: false`: a text has one prefix, at its start, and none behind each special token in it.
            self._prefixed = bool(not self.legacy and model.normalizer_spec.add_dummy_prefix)
            if self._prefixed:
                model.normalizer_spec.add_dummy_prefix = False
                self.sp_model = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())

        def tokenize(self, text: str, **kwargs: Any) -> list[str]:
            special = not kwargs.get("split_special_tokens", self.split_special_tokens)
            if self._prefixed and text and not (special and text.startswith(tuple(self._added_tokens_encoder))):
                text = f" {text}"
            found: list[str] = super().tokenize(text, **kwargs)
            return found

        def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> tuple[str, ...]:
            written: tuple[str, ...] = super().save_pretrained(save_directory, *args, **kwargs)
            config = Path(save_directory, "tokenizer_config.json")
            # The base leaves out what tokenizer.json would hold, and names a class that nobody else has.
            whole = {**_json(config), **self._told, "tokenizer_class": f"{name or 'Llama'}Tokenizer"}
            config.write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            return written

        def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
            pieces: list[str] = self.sp_model.encode(text, out_type=str)
            return pieces

        def build_inputs_with_special_tokens(
            self, token_ids_0: list[int], token_ids_1: list[int] | None = None
        ) -> list[int]:
            start = [self.bos_token_id] if self.add_bos_token and self.bos_token_id is not None else []
            end = [self.eos_token_id] if self.add_eos_token and self.eos_token_id is not None else []
            second = [*start, *token_ids_1, *end] if token_ids_1 else []
            return [*start, *token_ids_0, *end, *second]

        def convert_tokens_to_string(self, tokens: list[str]) -> str:
            text = "".join(self._parts(tokens))
            starts = bool(tokens) and tokens[0] not in self._added_tokens_encoder
            return text[1:] if self._prefixed and starts and text.startswith(" ") else text

        def _parts(self, tokens: Sequence[str]) -> Iterator[str]:
            """The text of each run of pieces, and each added token as it is written."""
            for added, run in groupby(tokens, self._added_tokens_encoder.__contains__):
                pieces = list(run)
                yield "".join(pieces) if added else self.sp_model.decode_pieces(pieces)

    return SentencePieceTokenizer
