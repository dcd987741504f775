"""What is put to the server: text, turns, or token ids."""

from __future__ import annotations

from typing import Any

import attrs

import wmtp
from wmtp.kit import encoded, thinking_tokens
from wmtp_openai.settings import OpenAISettings

CONTINUES = {
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "sglang": {"continue_final_message": True},
    "llama.cpp": {},
}
"""Servers that go on with an answer that was begun for them, and what they want to be told; transformers serve does not."""
TAKES_TEMPLATE_ARGS = frozenset({"vllm", "sglang", "llama.cpp", "transformers"})
"""Servers that hand ``chat_template_kwargs`` to the template. Others drop the key, or refuse the request."""

KEEPS_TOKENS = frozenset({"vllm", "sglang"})
"""Servers that can be told to leave special tokens in a text."""


@attrs.frozen(kw_only=True)
class Asked:
    """A request's part of a body.

    Attributes:
        path: Of the API, behind its base address.
        body: ``prompt``, or ``messages`` and what goes with them.
        opened: Whether the prompt ends inside thinking; ``None`` where the server's own template makes it.
    """

    path: str
    body: dict[str, Any]
    opened: bool | None


class Prompts:
    """Turns a request into the part of its body that says what is asked."""

    def __init__(self, settings: OpenAISettings, kind: str) -> None:
        self._settings, self._kind = settings, kind
        self._tokenizer = _tokenizer(settings.tokenizer) if settings.tokenizer else None

    @property
    def form(self) -> str:
        """``tokens`` or ``text``; part of the key of samples."""
        return "text" if self._tokenizer is None else "tokens"

    def ask(self, request: wmtp.GenerationRequest) -> Asked:
        """What to send.

        Raises:
            GenerationError: The server cannot be asked in this form.
        """
        if self._tokenizer is not None:
            prompt = request.prompt or "" if request.messages is None else request.messages
            ids, opened = encoded(self._tokenizer, prompt, request.template_args)
            body: dict[str, Any] = {"prompt": ids or [self._tokenizer.bos_token_id]}
            if self._kind in KEEPS_TOKENS and thinking_tokens(self._tokenizer):
                body["skip_special_tokens"] = False  # among them are the marks of thinking
            return Asked(path="/completions", body=body, opened=opened)
        messages = request.messages
        if messages is None and self._settings.api == "chat":
            messages = ({"role": "user", "content": request.prompt or ""},)
        if messages is None:
            return Asked(path="/completions", body={"prompt": request.prompt}, opened=False)
        if self._settings.api == "completions":
            raise wmtp.GenerationError(
                "model.loaders.openai.api is completions, and the recipe asks in turns; use api: auto, or name a tokenizer: "
                "its template makes one prompt of them"
            )
        return self._turns(request, messages)

    def _turns(self, request: wmtp.GenerationRequest, messages: tuple[wmtp.Message, ...]) -> Asked:
        body: dict[str, Any] = {"messages": [dict(m) for m in messages]}
        if request.template_args:
            if self._kind not in TAKES_TEMPLATE_ARGS:
                names = ", ".join(sorted(request.template_args))
                raise wmtp.GenerationError(
                    f"eval.evaluators.{request.key.evaluator}.template_args ({names}): this server ({self._kind}) is not known "
                    "to hand arguments to its chat template; name a tokenizer in model.loaders.openai.tokenizer, whose "
                    "template takes them here, or leave them out"
                )
            body["chat_template_kwargs"] = dict(request.template_args)
        begun = messages[-1]["role"] == "assistant"
        if begun:
            if self._kind not in CONTINUES:
                raise wmtp.GenerationError(
                    f"this server ({self._kind}) is not known to go on with an answer that was begun for it; name a tokenizer "
                    "in model.loaders.openai.tokenizer, or leave out the prefill"
                )
            body |= CONTINUES[self._kind]
        return Asked(path="/chat/completions", body=body, opened=False if begun else None)

    def without_prefill(self, request: wmtp.GenerationRequest, text: str) -> str:
        """The answer less the beginning that was given: llama.cpp's server sends it back at the head of its answer."""
        if self._tokenizer is None and self._kind == "llama.cpp" and request.messages:
            last = request.messages[-1]
            return text.removeprefix(last["content"]) if last["role"] == "assistant" else text
        return text


def _tokenizer(name: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise wmtp.PluginError(
            "model.loaders.openai.tokenizer needs transformers: pip install 'wmtp-openai[tokens]'"
        ) from None
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise wmtp.ConfigError(
            f"model.loaders.openai.tokenizer: no tokenizer in {name!r} ({' '.join(str(error).split())[:200]})"
        ) from None
