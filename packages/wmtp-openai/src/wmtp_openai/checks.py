"""What a server can do, tried out: the lines of ``wmtp doctor --model openai:…``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import attrs
import openai

import wmtp
from wmtp_openai.answers import BadAnswer, read_answer
from wmtp_openai.client import open_client
from wmtp_openai.pool import Server
from wmtp_openai.probe import ServerInfo, draft_counters, innermost, probe
from wmtp_openai.prompts import CONTINUES, TAKES_TEMPLATE_ARGS
from wmtp_openai.requests import post
from wmtp_openai.settings import OpenAISettings, parse_reference

PROMPT = "Some words, none twice: "
SEED = 1234


def check_server(reference: str, settings: OpenAISettings) -> Iterator[wmtp.Check]:
    """One line for each thing that a run may want of the server."""
    yield from asyncio.run(_checked(reference, settings))


async def _checked(reference: str, settings: OpenAISettings) -> list[wmtp.Check]:
    url, model = parse_reference(reference)
    client = open_client(url, attrs.evolve(settings, timeout_s=min(60.0, settings.timeout_s)))
    try:
        server = Server(url, client, 1)
        try:
            info = await probe(server, model, settings)
        except wmtp.WmtpError as error:
            return [wmtp.Check("server", False, str(error))]
        told = ", ".join(f"{k} {v}" for k, v in info.origin.items() if k not in ("server", "name") and v)
        found = [wmtp.Check("server", True, f"{info.kind}, model {info.model}{', ' if told else ''}{told}")]
        return found + await _Asks(server, info).all()
    finally:
        await client.close()


class _Asks:
    """Small requests to one server, each for one ability."""

    def __init__(self, server: Server, info: ServerInfo) -> None:
        self._server, self._info = server, info

    async def all(self) -> list[wmtp.Check]:
        known = self._info.kind
        tried = [
            await self._greedy(),
            await self._draws(),
            await self._seed(),
            await self._stop(),
            await self._token_ids(),
            await self._chat(),
            await self._logprobs(),
        ]
        drafts, _ = await draft_counters(self._server)
        return [
            *tried,
            wmtp.Check(
                "template_args",
                known in TAKES_TEMPLATE_ARGS or None,
                "" if known in TAKES_TEMPLATE_ARGS else "not sent here",
            ),
            wmtp.Check("prefill", known in CONTINUES or None, "" if known in CONTINUES else "name a tokenizer for it"),
            wmtp.Check("drafts", drafts > 0 or None, f"{drafts} counted" if drafts else "no counters of drafts"),
        ]

    async def _body(self, path: str = "/completions", **fields: Any) -> Any:
        asked: dict[str, Any] = {
            "model": self._info.model,
            "max_tokens": 12,
            "temperature": 0,
            **self._info.always,
            **fields,
        }
        if path == "/completions":
            asked.setdefault("prompt", PROMPT)
        return await post(self._server, path, asked)

    async def _text(self, path: str = "/completions", **fields: Any) -> str:
        return read_answer(await self._body(path, **fields), chat=path != "/completions").text

    async def _tried(self, name: str, work: Any) -> wmtp.Check:
        try:
            ok, detail = await work
        except openai.APIStatusError as error:
            return wmtp.Check(name, False, f"refused with status {error.status_code}")
        except (openai.APIError, BadAnswer) as error:
            why = innermost(error)
            return wmtp.Check(name, False, f"{type(why).__name__}: {' '.join(str(why).split())[:120]}")
        return wmtp.Check(name, ok, detail)

    async def _greedy(self) -> wmtp.Check:
        async def same() -> tuple[bool, str]:
            equal = await self._text() == await self._text()
            return equal, "" if equal else "two answers at temperature 0 differ"

        return await self._tried("temperature 0", same())

    async def _draws(self) -> wmtp.Check:
        async def differ() -> tuple[bool, str]:
            texts = {await self._text(temperature=1.5) for _ in range(3)}
            return len(texts) > 1, "" if len(
                texts
            ) > 1 else "three answers at temperature 1.5 are one text: sampling is refused"

        return await self._tried("sampling", differ())

    async def _seed(self) -> wmtp.Check:
        async def same() -> tuple[bool | None, str]:
            one, two = [await self._text(temperature=1.5, seed=SEED) for _ in range(2)]
            if one != two:
                return None, "one seed gave two texts"
            for other in range(1, 4):  # of few words two seeds may write the same
                if await self._text(temperature=1.5, seed=SEED + 7919 * other) != one:
                    return True, "a hint where requests overlap"
            return None, "four seeds gave one text"

        return await self._tried("seed", same())

    async def _stop(self) -> wmtp.Check:
        async def cut() -> tuple[bool | None, str]:
            whole = await self._text()
            middle = whole[len(whole) // 2 :][:1]
            if not middle:
                return None, "the answer is empty"
            text = await self._text(stop=[middle])
            return (middle not in text) or None, "" if middle not in text else "the stop string stays; it is cut here"

        return await self._tried("stop strings", cut())

    async def _token_ids(self) -> wmtp.Check:
        async def taken() -> tuple[bool, str]:
            await self._text(prompt=[1, 2, 3])
            return True, "model.loaders.openai.tokenizer can be used"

        return await self._tried("prompts as token ids", taken())

    async def _chat(self) -> wmtp.Check:
        async def answered() -> tuple[bool, str]:
            body = await self._body("/chat/completions", messages=[{"role": "user", "content": "Say one word."}])
            reasoning = "reasoning" in read_answer(body, chat=True).extra
            return True, "thinking is taken out of the answer" if reasoning else ""

        return await self._tried("chat", answered())

    async def _logprobs(self) -> wmtp.Check:
        async def given() -> tuple[bool | None, str]:
            found = read_answer(await self._body(logprobs=2), chat=False).logprobs
            return bool(found) or None, "" if found else "taken and not answered"

        return await self._tried("logprobs", given())
