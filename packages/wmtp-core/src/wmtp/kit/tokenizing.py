"""From prompts to token ids: what any engine that has the model's tokenizer puts to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wmtp.contracts.engines import Message
from wmtp.errors import ConfigError
from wmtp.kit.thinking import FAMILIES, opened_by


def rendered(tokenizer: Any, turns: Sequence[Message], template_args: Mapping[str, Any] = {}) -> str:
    """Turns as the model's chat template writes them; the assistant's own, where it comes last, is left open.

    Args:
        tokenizer: of transformers.
        turns: of the chat, in order.
        template_args: arguments of the template, like ``{enable_thinking: false}``.

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
