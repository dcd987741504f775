"""Prompt forms: how a benchmark's question becomes what a model is given, and where its answer ends.

A stop string belongs to one form, and never is legal code of it. A chat ends at its end of turn and has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from wmtp.contracts.engines import Message
from wmtp.contracts.values import as_tuple, stop_texts
from wmtp.errors import ConfigError

_LATER: Mapping[str, Any] = {"keyed": "if set"}
"""Settings that came after runs were made: they are part of a key where they are set, and nowhere else."""


@attrs.frozen(kw_only=True)
class ChatSettings:
    """The settings of a benchmark that can be asked in chat; a benchmark's own settings derive from it.

    Attributes:
        chat: Turns for a model with a chat template, instead of bare text.
        system_prompt: A system turn in front; none if empty.
        template_args: Arguments of the chat template, like ``{enable_thinking: false}``.
        prefill: How the assistant's answer begins; the model goes on from there.
    """

    chat: bool = False
    system_prompt: str = attrs.field(default="", metadata=_LATER)
    template_args: Mapping[str, Any] = attrs.field(factory=dict, metadata=_LATER)
    prefill: str = attrs.field(default="", metadata=_LATER)

    def __attrs_post_init__(self) -> None:
        named = [name for name in ("system_prompt", "template_args", "prefill") if getattr(self, name)]
        if named and not self.chat:
            raise ConfigError(f"{', '.join(named)}: only a chat has that; set chat: true as well, or leave it out")


@attrs.frozen(kw_only=True)
class PromptForm:
    """How a benchmark asks.

    Attributes:
        name: Of the form, for people.
        stop: Strings that end a completion.
        system: Content of a system turn.
        prefill: The beginning of the answer.
        template_args: Arguments of the chat template.
    """

    name: Literal["completion", "few-shot", "chat"]
    stop: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=stop_texts)
    system: str = ""
    prefill: str = ""
    template_args: Mapping[str, Any] = attrs.field(factory=dict)

    def ask(self, prompt: str | list[Message]) -> str | list[Message]:
        """What the model is given for a benchmark's prompt.

        Args:
            prompt: Text; or the turns of a chat, the last of which is the user's.
        """
        if isinstance(prompt, str):
            return prompt
        turns: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        turns += prompt
        return [*turns, {"role": "assistant", "content": self.prefill}] if self.prefill else turns


def bare_completion(*stop: str) -> PromptForm:
    """The model goes on from a text."""
    return PromptForm(name="completion", stop=stop)


def few_shot(*stop: str) -> PromptForm:
    """The model goes on from a text with solved examples."""
    return PromptForm(name="few-shot", stop=stop)


def chat(settings: ChatSettings) -> PromptForm:
    """Turns through the tokenizer's chat template, with a prefill if the settings have one."""
    return PromptForm(
        name="chat",
        system=settings.system_prompt,
        prefill=settings.prefill,
        template_args=settings.template_args,
    )


def cut_at_stop(text: str, stop: tuple[str, ...]) -> str:
    """The text before the first stop string that occurs in it."""
    return text[: min((text.index(s) for s in stop if s in text), default=len(text))]
