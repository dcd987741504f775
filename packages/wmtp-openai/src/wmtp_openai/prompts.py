"""What is put to the server: text, turns, or token ids."""

from __future__ import annotations

from typing import Any

import wmtp
from wmtp_openai.settings import OpenAISettings

CONTINUES = {
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "sglang": {"continue_final_message": True},
    "llama.cpp": {},
}
"""Servers that go on with an answer that was begun for them, and what they want to be told; transformers serve does not."""


class Prompts:
    """Turns a request into the part of its body that says what is asked."""

    def __init__(self, settings: OpenAISettings, kind: str) -> None:
        self._settings, self._kind = settings, kind
        self._tokenizer = _tokenizer(settings.tokenizer) if settings.tokenizer else None

    @property
    def form(self) -> str:
        """``tokens`` or ``text``; part of the key of samples."""
        return "text" if self._tokenizer is None else "tokens"

    def ask(self, request: wmtp.GenerationRequest) -> tuple[str, dict[str, Any]]:
        """The path and its ``prompt`` or ``messages``.

        Raises:
            GenerationError: The server cannot be asked in this form.
        """
        if self._tokenizer is not None:
            return "/completions", {"prompt": self._ids(request)}
        messages = request.messages
        if messages is None and self._settings.api == "chat":
            messages = ({"role": "user", "content": request.prompt or ""},)
        if messages is None:
            return "/completions", {"prompt": request.prompt}
        if self._settings.api == "completions":
            raise wmtp.GenerationError(
                "model.loaders.openai.api is completions, and the recipe asks in turns; use api: auto, or name a tokenizer: "
                "its template makes one prompt of them"
            )
        asked: dict[str, Any] = {"messages": [dict(m) for m in messages]}
        if messages[-1]["role"] == "assistant":
            if self._kind not in CONTINUES:
                raise wmtp.GenerationError(
                    f"this server ({self._kind}) is not known to go on with an answer that was begun for it; name a tokenizer "
                    "in model.loaders.openai.tokenizer, or leave out the prefill"
                )
            asked |= CONTINUES[self._kind]
        return "/chat/completions", asked

    def _ids(self, request: wmtp.GenerationRequest) -> list[int]:
        assert self._tokenizer is not None
        if request.messages is None:
            ids = list(self._tokenizer(request.prompt)["input_ids"])
        else:
            begun = request.messages[-1]["role"] == "assistant"
            ids = list(
                self._tokenizer.apply_chat_template(
                    [dict(m) for m in request.messages],
                    add_generation_prompt=not begun,
                    continue_final_message=begun,
                    tokenize=True,
                    return_dict=False,
                )
            )
        if ids and ids[-1] == self._tokenizer.eos_token_id:  # some tokenizers end every text; a prompt goes on
            ids.pop()
        return ids

    def without_prefill(self, request: wmtp.GenerationRequest, text: str) -> str:
        """The answer less the beginning that was given: llama.cpp's server sends it back at the head of its answer."""
        if self._kind == "llama.cpp" and request.messages and request.messages[-1]["role"] == "assistant":
            return text.removeprefix(request.messages[-1]["content"])
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
