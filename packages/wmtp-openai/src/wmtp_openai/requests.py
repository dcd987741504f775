"""One request: how it is asked, what may go wrong, and when it is given up."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from typing import Any

import attrs
import httpx2
import openai

import wmtp
from wmtp.kit import cut_at_stop
from wmtp_openai.answers import Answer, BadAnswer, read_answer
from wmtp_openai.client import TooLargeError
from wmtp_openai.pool import Pool, Server
from wmtp_openai.probe import ServerInfo, draft_counters, innermost, parsed, probe
from wmtp_openai.prompts import Asked, Prompts
from wmtp_openai.seeds import request_seed
from wmtp_openai.settings import OpenAISettings
from wmtp_openai.templates import Templates

ATTEMPTS = 6
"""Bad answers to one request before it is left unanswered. A server that is away, or says that it has no room, costs none."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 8.0
"""Between two attempts at one request: half the first, doubled each time."""
AWAY = frozenset({429, 502, 503, 504, 529})
STOPS = 4
"""Stop strings that every server takes. All are cut here as well."""
ENDED = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
}


TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (?:length|window|size)|max_model_len|max_new_tokens`? must be <="
    r"|(?:maximum|model'?s?|available) (?:model |sequence |input )?(?:context|length)|must have less than \d+ tokens"
    r"|(?:prompt|input) is too long",
    re.I,
)
"""What servers say of a prompt that does not fit: vLLM, SGLang, llama.cpp, TGI, OpenAI."""


class Refused(Exception):  # noqa: N818  (never shown as it is: it becomes the completion's error)
    """The server will not serve this request, however often it is asked."""


class TooLong(Refused):
    """The prompt does not fit the context of the server's model."""


@attrs.frozen
class Asker:
    """Asks for completions. Everything it holds is the same for all requests of an engine."""

    pool: Pool
    info: ServerInfo
    prompts: Prompts
    settings: OpenAISettings
    templates: Templates

    async def complete(self, request: wmtp.GenerationRequest, sampling: wmtp.Sampling) -> wmtp.Completion:
        """One completion. Its ``finish_reason`` is ``"error"`` where the request stays unanswered, and ``"too-long"`` where the
        server says that the prompt does not fit: never a stand-in.

        Raises:
            GenerationError: No request can be served: no server answers, the key is not taken.
        """
        started = time.monotonic()
        try:
            asked, body = self.body(request, sampling)
            answer, server = await self._answered(asked.path, body)
        except Refused as error:
            return wmtp.Completion(
                key=request.key,
                text="",
                finish_reason="too-long" if isinstance(error, TooLong) else "error",
                tokens=0,
                seconds=time.monotonic() - started,
                error=str(error),
            )
        whole = self.prompts.without_prefill(request, answer.text)
        text = cut_at_stop(whole, request.stop)
        opened = asked.opened
        if opened is None:
            # Where a server takes thinking out, an answer that ended by itself has no mark, and is an answer all the same.
            unclosed = ENDED[answer.finish] == "length" and "reasoning" not in answer.extra
            opened = unclosed and await self.templates.opens_thinking(server, body)
        return wmtp.Completion(
            key=request.key,
            text=text,
            finish_reason="stop" if text != whole or ENDED[answer.finish] == "stop" else "length",
            tokens=answer.tokens or 0,
            seconds=time.monotonic() - started,
            extra={**answer.extra, "thinking_opened": True} if opened else answer.extra,
        )

    async def scored(self, request: wmtp.GenerationRequest, sampling: wmtp.Sampling, top: int) -> Answer:
        """The answer as it came, with the scores of the likely tokens where the server gives them. Raises `Refused`."""
        asked, body = self.body(request, sampling)
        chat = asked.path == "/chat/completions"
        answer, _ = await self._answered(
            asked.path, body | ({"logprobs": True, "top_logprobs": top} if chat else {"logprobs": top})
        )
        return answer

    def body(self, request: wmtp.GenerationRequest, sampling: wmtp.Sampling) -> tuple[Asked, dict[str, Any]]:
        """The body of a request. What is not wanted is left out: an empty list or a null may mean something."""
        asked = self.prompts.ask(request)
        body: dict[str, Any] = {
            "model": self.info.model,
            **asked.body,
            "max_tokens": request.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": request_seed(sampling.seed or 0, request.key),
            **self.info.always,
            **sampling.extra,
            **self.settings.extra_body,
        }
        if request.stop:
            body["stop"] = list(request.stop[:STOPS])
        return asked, body

    async def _answered(self, path: str, body: Mapping[str, Any]) -> tuple[Answer, Server]:
        reasons: list[str] = []
        dropped = False
        while len(reasons) < ATTEMPTS:
            if reasons:
                await asyncio.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** len(reasons)))
            async with self.pool.server() as server:
                if not server.known and not await self._introduced(server):
                    continue
                try:
                    async with asyncio.timeout(self.settings.timeout_s):  # the client's own counts from byte to byte
                        found = await post(server, path, body)
                    answer = read_answer(found, chat=path == "/chat/completions")
                    if answer.finish == "content_filter":
                        raise Refused("the server's content filter ended the answer")
                    if answer.finish not in ENDED:
                        raise BadAnswer(f"finish_reason is {answer.finish!r}")
                except openai.APIStatusError as error:
                    self._status(server, error, reasons)
                except (openai.APITimeoutError, TimeoutError):
                    reasons.append(f"no answer within {self.settings.timeout_s:g} s (model.loaders.openai.timeout_s)")
                except (openai.APIConnectionError, OSError) as error:
                    if isinstance(why := innermost(error), TooLargeError):
                        reasons.append(str(why))
                        continue
                    if not dropped and isinstance(why, httpx2.RemoteProtocolError):
                        dropped = True  # a connection that was kept open and that the server has closed meanwhile
                        continue
                    server.failed(f"cannot be reached: {_cause(error)}", None, time.monotonic())
                except BadAnswer as error:
                    reasons.append(str(error))
                else:
                    server.answered()
                    return answer, server
        raise Refused(f"asked {ATTEMPTS} times without an answer; the last time: {reasons[-1]}")

    async def _introduced(self, server: Server) -> bool:
        """Whether a server that was away at the start is there now. Raises GenerationError where it has another model."""
        try:
            found = await probe(server, self.info.model)
            server.counted = await draft_counters(server)
        except wmtp.ConfigError as error:
            raise wmtp.GenerationError(f"{error} (model.loaders.openai.urls)") from None
        except wmtp.GenerationError as error:
            server.failed(str(error), None, time.monotonic())
            return False
        if found.kind != self.info.kind:
            raise wmtp.GenerationError(
                f"model.loaders.openai.urls: {server.url}, which was away at the start, is {found.kind} and not "
                f"{self.info.kind} as the others; samples of one run come from one kind"
            )
        server.known = True
        return True

    def _status(self, server: Server, error: openai.APIStatusError, reasons: list[str]) -> None:
        """What an error status means: for the whole run, for the server, or for this request."""
        status, said = error.status_code, _said(error)
        if status in (401, 403):
            raise wmtp.GenerationError(
                f"{server.url} does not take the key ({status}: {said}); it is read from the environment variable "
                f"{self.settings.key_env} (model.loaders.openai.key_env)"
            ) from None
        if status == 404:
            raise wmtp.GenerationError(
                f"{server.url} has no such path or model (404: {said}); see model.base_id"
            ) from None
        if status in AWAY:
            server.failed(f"{status}: {said}", _retry_after(error), time.monotonic())
        elif status < 500 and status not in (408, 409, 425):
            refused = TooLong if TOO_LONG.search(_whole(error)) else Refused
            raise refused(f"the server refuses the request ({status}): {said}") from None
        else:
            reasons.append(f"{status}: {said}")


async def post(server: Server, path: str, body: Mapping[str, Any]) -> Any:
    """The body of an answer of status 2xx, read as JSON, whatever it is.

    Raises:
        openai.APIError: Another status, no connection, no answer in time.
        BadAnswer: It is no JSON.
    """
    raw = await server.client.post(path, cast_to=httpx2.Response, body=dict(body))
    try:
        return parsed(raw)
    except ValueError as error:
        raise BadAnswer(str(error)) from None


def _whole(error: openai.APIStatusError) -> str:
    """All of an error's body: servers put a code beside the message."""
    return json.dumps(error.body, default=str) if error.body is not None else error.message


def _said(error: openai.APIStatusError) -> str:
    """What the server said, on one line: its message where the body has one."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, Mapping) else inner
    return " ".join(str(body if body is not None else error.message).split())[:300]


def _cause(error: BaseException) -> str:
    """The innermost reason of a failed connection: openai's own text is 'Connection error.' for all of them."""
    error = innermost(error)
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to be left alone, as a number or as a date; ``None`` where it does not say."""
    said = error.response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
