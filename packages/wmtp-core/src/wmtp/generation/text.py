"""From token ids to text: the continuation of a prompt, marks of thinking, stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wmtp.kit.tokenizing import thinking_tokens

CONTEXT_TOKENS = 6
BLOCK_TOKENS = 32  # decoded together with each of their beginnings, where every token's own characters are asked for
UNFINISHED = "\ufffd"  # what a tokenizer writes for the first bytes of a character


class Continuation:
    """The text of one growing completion.

    Tokens are decoded behind the prompt's last few: a SentencePiece tokenizer drops a leading space of what it decodes
    alone, and with it the indentation of the first line.
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._thinking = thinking_tokens(tokenizer)
        self._context = list(prompt[-CONTEXT_TOKENS:])
        self._before = self._decode([])
        self._stop = tuple(stop)
        # A stop string of n characters spans at most n tokens of at least a character; bytes of one character may
        # be tokens of their own, so look back a little further.
        self._window = max((len(s.encode()) for s in stop), default=0) + 8

    def _decode(self, ids: Sequence[int]) -> str:
        return self._text([*self._context, *ids])

    def _text(self, ids: Sequence[int]) -> str:
        """Special tokens are left out, but for the marks of thinking."""
        parts, start = [], 0
        for place, token in enumerate(ids) if self._thinking else ():
            if token in self._thinking:
                parts += [self._plain(ids[start:place]), self._thinking[token]]
                start = place + 1
        return "".join((*parts, self._plain(ids[start:])))

    def _plain(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def text(self, ids: Sequence[int]) -> str:
        whole = self._decode(ids)
        if whole.startswith(self._before):
            return whole[len(self._before) :]
        return self._text(ids)

    def characters(self, ids: Sequence[int]) -> list[int]:
        """How many characters of the text each token brings; of one whose bytes are several tokens', the last has it."""
        found: list[int] = []
        for start in range(0, len(ids), BLOCK_TOKENS):
            lead = list(ids[max(0, start - CONTEXT_TOKENS) : start]) if start else self._context
            before = self._text(lead).rstrip(UNFINISHED)
            for end in range(start + 1, min(start + BLOCK_TOKENS, len(ids)) + 1):
                text = self._text([*lead, *ids[start:end]]).rstrip(UNFINISHED)
                found.append(max(0, len(text) - len(before)))
                before = text if len(text) > len(before) else before
        return found

    def may_stop(self, ids: Sequence[int], new: int) -> bool:
        """Whether a stop string stands where the last `new` of these ids could have completed it."""
        if not self._stop:
            return False
        tail = self._tokenizer.decode(
            list(ids[-(self._window + new) :]), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return any(s in tail for s in self._stop)

    def stopped(self, ids: Sequence[int]) -> bool:
        """Whether a stop string has been completed by the last of these ids."""
        return self.may_stop(ids, 0) and any(s in self.text(ids) for s in self._stop)

    def cut(self, ids: Sequence[int]) -> str:
        """The text before the first stop string."""
        text = self.text(ids)
        return text[: min((text.index(s) for s in self._stop if s in text), default=len(text))]
