"""The tokenizer of tiny models: a token is a byte, so that any text can be written and no id is foreign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def byte_tokenizer(special: Sequence[str] = ("<s>", "</s>"), **options: Any) -> PreTrainedTokenizerFast:
    """Make a tokenizer of the 256 bytes.

    Args:
        special: Special tokens; they have the first ids, and the bytes follow in the order of their letters.
        options: What `PreTrainedTokenizerFast` is told beside: ``bos_token="<s>"``, say.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **options)
