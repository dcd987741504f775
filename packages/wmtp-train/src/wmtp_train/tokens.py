"""From examples to documents of token ids: which are trained, and what weight the data gave them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

import wmtp


@attrs.frozen(eq=False)
class Document:
    """One example as tokens.

    Attributes:
        id: Its example's.
        ids: Token ids; the last is the end token, unless it was cut.
        answer_from: Index of the first token of the answer.
        given: Weight of each token from the data; ``None``: it gave none.
        cut: Whether tokens were cut off.
    """

    id: str
    ids: tuple[int, ...]
    answer_from: int
    given: tuple[float, ...] | None = None
    cut: bool = False

    @property
    def first_trained(self) -> int:
        """Index of the first token of the answer that a model can be asked for: nobody predicts a text's first."""
        return max(self.answer_from, 1)


def document(tokenizer: Any, example: wmtp.Example, *, max_length: int, chat: bool) -> Document:
    """The example as tokens.

    A prompt is encoded as it is asked at evaluation; the answer behind it as one text with it where the tokenizer keeps the
    prompt's tokens then, else alone.

    Raises:
        ConfigError: It has no answer, no token of the answer fits, a chat template is missing, or its text is no Unicode.
    """
    if not example.answer.strip():
        raise wmtp.ConfigError(f"example {example.id}: its answer is empty, so there is nothing to learn")
    text, special = _prompt(tokenizer, example, chat)
    _check_text(example.id, text + example.answer)
    before = _ids(tokenizer, text, special) if text else _beginning(tokenizer)
    whole = _ids(tokenizer, text + example.answer, special) if text else before + _ids(tokenizer, example.answer, False)
    together = whole[: len(before)] == before
    ids = whole if together else before + _ids(tokenizer, example.answer, False)
    if tokenizer.eos_token_id is not None:
        ids = [*ids, tokenizer.eos_token_id]
    kept = ids[:max_length]
    if len(kept) <= max(len(before), 1):
        raise wmtp.ConfigError(
            f"example {example.id}: its prompt takes {len(before)} tokens, so with max_length {max_length} no token of the "
            "answer is left to train"
        )
    given = _given(tokenizer, example, len(before), ids)
    return Document(
        id=example.id,
        ids=tuple(kept),
        answer_from=len(before),
        given=None if given is None else tuple(given[:max_length]),
        cut=len(ids) > len(kept),
    )


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise wmtp.ConfigError(
            f"example {name}: {text[error.start]!a} is half of a character (a surrogate): no tokenizer takes it; leave it out"
        ) from None


def _prompt(tokenizer: Any, example: wmtp.Example, chat: bool) -> tuple[str, bool]:
    """The prompt's text, and whether the tokenizer adds its special tokens to it."""
    if isinstance(example.prompt, str) and not (chat and example.prompt):
        return example.prompt, True
    turns = [{"role": "user", "content": example.prompt}] if isinstance(example.prompt, str) else list(example.prompt)
    if not getattr(tokenizer, "chat_template", None):
        raise wmtp.ConfigError(
            f"example {example.id} is asked in turns, and the model's tokenizer has no chat template; set data.train.chat: "
            "false, or use a tokenizer that has one"
        )
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # whatever the template's author wrote
        raise wmtp.ConfigError(f"example {example.id}: the model's chat template refuses its turns: {error}") from error
    return text, False


def _ids(tokenizer: Any, text: str, special: bool) -> list[int]:
    """Ids without an end token of the tokenizer's own: the answer's end is ours to put."""
    ids = list(tokenizer(text, add_special_tokens=special)["input_ids"])
    return ids[:-1] if special and ids and ids[-1] == tokenizer.eos_token_id else ids


def _beginning(tokenizer: Any) -> list[int]:
    """What a text without a prompt begins with."""
    return _ids(tokenizer, "", True)


def _given(tokenizer: Any, example: wmtp.Example, before: int, ids: Sequence[int]) -> list[float] | None:
    """The weight of each token, from spans of the answer's characters: that of the span in which it begins."""
    if not example.weights:
        return None
    if not tokenizer.is_fast:
        raise wmtp.ConfigError("weights of spans need a fast tokenizer, which knows where its tokens lie in the text")
    offsets = tokenizer(example.answer, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    weights = [1.0] * len(ids)
    for number, (start, _) in enumerate(offsets):
        for first, end, weight in example.weights:
            if first <= start < end and before + number < len(ids):
                weights[before + number] = weight
    return weights


def documents(tokenizer: Any, examples: Iterable[wmtp.Example], *, max_length: int, chat: bool) -> list[Document]:
    """All examples as tokens, in order. Raises ConfigError with the first twenty faults at once."""
    made, faults = [], []
    for example in examples:
        try:
            made.append(document(tokenizer, example, max_length=max_length, chat=chat))
        except wmtp.ConfigError as error:
            faults.append(str(error))
            if len(faults) == 20:
                break
    if faults:
        raise wmtp.ConfigError("\n".join(faults))
    return made
