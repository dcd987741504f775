"""From prompts to token ids, and from token ids to text: chat templates, the continuation of a prompt, stop strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wmtp.contracts.engines import Message
from wmtp.errors import ConfigError
from wmtp.kit.thinking import FAMILIES, opened_by

CONTEXT_TOKENS = 6


def rendered(tokenizer: Any, turns: Sequence[Message], template_args: Mapping[str, Any] = {}) -> str:
    """Turns as the model's chat template writes them; the assistant's own, where it comes last, is left open.

    Raises:
        ConfigError: the tokenizer has no chat template, or the template refuses these turns or arguments.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            "the model's tokenizer has no chat template, so it cannot be asked in turns; set chat: false "
            "(eval.evaluators.<id>.chat), or use a tokenizer that has a chat_template"
        )
    prefill = turns[-1]["content"] if turns[-1]["role"] == "assistant" else ""
    try:
        text: str = tokenizer.apply_chat_template(
            [dict(turn) for turn in turns],
            tokenize=False,
            add_generation_prompt=not prefill,
            continue_final_message=bool(prefill),
            **template_args,
        )
    except Exception as error:
        raise ConfigError(f"the model's chat template refuses these turns: {error}") from error
    if prefill and not text.endswith(
        prefill
    ):  # a template that strips contents takes the prefill's last newline as well
        text += prefill[len(prefill.rstrip()) :]
    return text


def encoded(
    tokenizer: Any, prompt: str | Sequence[Message], template_args: Mapping[str, Any] = {}
) -> tuple[list[int], bool]:
    """Token ids of a prompt, and whether it ends inside thinking that the template opened."""
    if isinstance(prompt, str):
        return _without_end(tokenizer, prompt, list(tokenizer(prompt)["input_ids"])), False
    text = rendered(tokenizer, prompt, template_args)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]), opened_by(text)


def _without_end(tokenizer: Any, text: str, ids: list[int]) -> list[int]:
    """The ids of a prompt without what the tokenizer puts behind every text: a model is not asked to go on behind an end."""
    special = set(getattr(tokenizer, "all_special_ids", ()))
    if not ids or ids[-1] not in special:
        return ids
    alone = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    for start in range(len(ids) - len(alone) + 1):
        if ids[start : start + len(alone)] == alone:
            return ids[: start + len(alone)]
    return ids


def thinking_tokens(tokenizer: Any) -> dict[int, str]:
    """Special tokens that are marks of thinking, or parts of one: text has to keep them."""
    marks = [mark for family in FAMILIES for mark in (family.opening, family.closing)]
    tokens = [t for t in getattr(tokenizer, "all_special_tokens", ()) if any(t in mark for mark in marks)]
    return {tokenizer.convert_tokens_to_ids(token): token for token in tokens}


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
