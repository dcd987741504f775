"""Whether a server's own chat template opens thinking for the model: its answer then holds the closing mark alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import openai

from wmtp.kit import opened_by
from wmtp_openai.pool import Server
from wmtp_openai.probe import parsed

TAIL = 64
"""Tokens from a prompt's end on that are enough to see how it ends."""


class Templates:
    """Asks once for each set of arguments of the template; prompts of one set end alike."""

    def __init__(self, kind: str, model: str) -> None:
        self._kind, self._model = kind, model
        self._known: dict[str, bool] = {}
        self._one_at_a_time = asyncio.Lock()

    async def opens_thinking(self, server: Server, body: Mapping[str, Any]) -> bool:
        """Whether a prompt of these turns ends inside thinking. False where the server has no way to tell."""
        name = json.dumps(body.get("chat_template_kwargs", {}), sort_keys=True, default=str)
        async with self._one_at_a_time:
            if name not in self._known:
                self._known[name] = opened_by(await self._prompt(server, body))
            return self._known[name]

    async def _prompt(self, server: Server, body: Mapping[str, Any]) -> str:
        """The end of the prompt that the server makes of turns; empty where it does not tell."""
        root = server.url.removesuffix("/v1")
        turns = {k: body[k] for k in ("messages", "chat_template_kwargs") if k in body}
        if self._kind == "llama.cpp":
            return str(await _field(server, f"{root}/apply-template", turns, "prompt"))
        if self._kind != "vllm":
            return ""
        tokens = await _field(server, f"{root}/tokenize", {"model": self._model, **turns}, "tokens")
        if not isinstance(tokens, list) or not tokens:
            return ""
        asked = {"model": self._model, "tokens": tokens[-TAIL:]}
        return str(await _field(server, f"{root}/detokenize", asked, "prompt"))


async def _field(server: Server, url: str, body: dict[str, Any], name: str) -> Any:
    try:
        answer = parsed(await server.client.post(url, cast_to=httpx2.Response, body=body))
    except (openai.APIError, ValueError):
        return ""
    return answer.get(name, "") if isinstance(answer, Mapping) else ""
