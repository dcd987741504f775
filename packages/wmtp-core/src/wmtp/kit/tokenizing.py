"""From prompts to token ids: what any engine that has the model's tokenizer puts to the model."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
    template = tokenizer.chat_template
    words = set(re.findall(r"\w+", template)) if isinstance(template, str) else set(template_args)
    unknown = [name for name in template_args if name not in words]
    if unknown:
        raise ConfigError(
            f"template_args: the model's chat template knows no {', '.join(unknown)}, so it would change nothing; look up the "
            "name in the model's chat_template.jinja or tokenizer_config.json"
        )
    write = partial(_written, tokenizer, template_args)
    try:
        return (
            _continued(write, turns) if turns[-1]["role"] == "assistant" else write(turns, add_generation_prompt=True)
        )
    except Exception as error:
        system = " It has no system turn: leave out system_prompt." if "system" in str(error).lower() else ""
        raise ConfigError(f"the model's chat template refuses these turns: {error}.{system}") from error


def _written(tokenizer: Any, template_args: Mapping[str, Any], turns: Sequence[Message], **options: Any) -> str:
    text: str = tokenizer.apply_chat_template(
        [dict(turn) for turn in turns], tokenize=False, **template_args, **options
    )
    return text


_HERE = "\ue000here\ue001"


def _continued(write: Callable[..., str], turns: Sequence[Message]) -> str:
    """Turns up to the end of the assistant's last one, as it stands: templates strip contents, and take thoughts out of them.

    A mark is put behind the content, or in its place, and the text in front of it is taken. (``continue_final_message`` of
    transformers gives a content that the template trimmed as it is then, and refuses one that it cut.)
    """
    *earlier, last = turns
    prefill = last["content"]
    if not prefill:
        return write(earlier, add_generation_prompt=True)
    with contextlib.suppress(Exception):  # a template that wants the user's turn last: the one below is its own way
        for content in (prefill + _HERE, _HERE):
            text, found, _ = write([*earlier, {**last, "content": content}]).rpartition(_HERE)
            if found and content == _HERE:
                return text + prefill
            if found and text.endswith(prefill):
                return text
    return write(earlier, add_generation_prompt=True) + prefill


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
