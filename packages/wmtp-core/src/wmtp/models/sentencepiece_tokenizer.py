"""The tokenizer that `wmtp.models.sentencepiece` loads. It imports transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from wmtp.models.sentencepiece import processor, read_object


def tokenizer_class(file: str, named: str) -> Any:
    """The class for folders whose tokenizer is a file of this name.

    Args:
        file: its name.
        named: the tokenizer class that the folder names, without ``Tokenizer``; may be empty.
    """
    return type(
        "SentencePieceTokenizer", (SentencePieceTokenizer,), {"vocab_files_names": {"vocab_file": file}, "named": named}
    )


class SentencePieceTokenizer(SentencePieceBackend):  # type: ignore[misc]  # it has no types
    """A SentencePiece file behind transformers' interface; `tokenizer_class` makes the class of one file."""

    named: ClassVar[str] = ""
    """The tokenizer class that the folder named, for what is written."""

    def __init__(self, **kwargs: Any) -> None:
        file = processor(Path(kwargs["vocab_file"]))
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
        behind = model.trainer_spec.treat_whitespace_as_suffix  # then nothing stands in front
        self._prefixed = bool(not self.legacy and model.normalizer_spec.add_dummy_prefix and not behind)
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
        whole = {**read_object(config), **self._told, "tokenizer_class": f"{self.named or 'Llama'}Tokenizer"}
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
