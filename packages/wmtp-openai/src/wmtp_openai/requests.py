"""One request: how it is asked, what may go wrong, and when it is given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import attrs
import httpx2
import openai

import wmtp
from wmtp.kit import cut_at_stop
from wmtp_openai.answers import Answer, BadAnswer, read_answer
from wmtp_openai.client import UNSENT_OF_A_REQUEST, key_refused
from wmtp_openai.connections import TooLargeError
from wmtp_openai.errors import (
    AWAY,
    NO_PATH,
    NO_SEEDS,
    ONE_MODEL,
    PINNED,
    TOO_LONG,
    cause,
    no_path,
    retry_after,
    said,
    whole,
)
from wmtp_openai.oddities import Oddities
from wmtp_openai.pool import Pool, Server
from wmtp_openai.probe import OtherModelError, ServerInfo, draft_counters, innermost, parsed, probe
from wmtp_openai.prompts import Asked, Prompts
from wmtp_openai.seeds import request_seed
from wmtp_openai.settings import OpenAISettings
from wmtp_openai.templates import Templates

ATTEMPTS = 6
"""Bad answers to one request before it is left unanswered. A server that is away, or says that it has no room, costs none."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 8.0
"""Between two attempts at one request: half the first, doubled each time."""
DRAWS = 3
"""Pairs of unseeded draws, all equal, after which a server counts as one that does not draw."""
STOPS = 4
"""Stop strings that every server takes. All are cut here as well."""
ENDED = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn", "tool_calls", "function_call"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "model_length"), "length"),
}
"""What the words mean in which servers say why an answer ended; another word is no end."""


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
    oddities: Oddities

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
            if sampling.temperature > 0 and not any(server.draws for server in self.pool.servers):
                raise wmtp.GenerationError(f"no server answers a first request: {error}") from None
            return wmtp.Completion(
                key=request.key,
                text="",
                finish_reason="too-long" if isinstance(error, TooLong) else "error",
                tokens=0,
                seconds=time.monotonic() - started,
                error=str(error),
            )
        whole = self.prompts.without_prefill(request, answer.text)
        text, cut = cut_at_stop(whole, request.stop), ENDED[answer.finish] == "length"
        self.oddities.add(request, answer, cut=cut)
        opened = asked.opened
        if opened is None:
            # Where a server takes thinking out, an answer that ended by itself has no mark, and is an answer all the same.
            unclosed = cut and "reasoning" not in answer.extra
            opened = unclosed and await self.templates.opens_thinking(server, body)
        return wmtp.Completion(
            key=request.key,
            text=text,
            finish_reason="length" if cut and text == whole else "stop",
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
        while len(reasons) < ATTEMPTS:
            if reasons:
                await asyncio.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** len(reasons)))
            async with self.pool.server() as server:
                try:
                    if (answer := await self._asked(server, path, body)) is not None:
                        server.answered()
                        return answer, server
                except BadAnswer as error:
                    reasons.append(str(error))
                    self.pool.answered_badly(server, reasons[-1])
        raise Refused(f"asked {ATTEMPTS} times without an answer; the last time: {reasons[-1]}")

    async def _asked(self, server: Server, path: str, body: Mapping[str, Any]) -> Answer | None:
        """An answer, or ``None`` where the server is away or has no time, which is nothing against the request.

        Raises:
            BadAnswer: What came is no answer.
            Refused: It will not be answered.
            GenerationError: No request will.
        """
        if not server.known and not await self._introduced(server):
            return None
        seeded = server.seeds  # others may learn meanwhile that it takes none
        try:
            async with asyncio.timeout(self.settings.timeout_s):  # the client's own counts from byte to byte
                if server.draws is False:
                    await self._see_draws(server)
                found = await post(server, path, body if seeded else _without_seed(body))
        except openai.APIStatusError as error:
            self._status(server, error, seeded=seeded)
            return None
        except (openai.APITimeoutError, TimeoutError) as error:
            if not isinstance(error.__cause__, httpx2.ConnectTimeout):
                raise BadAnswer(
                    f"no answer within {self.settings.timeout_s:g} s (model.loaders.openai.timeout_s)"
                ) from None
            self._away(server, "it takes no connection")
            return None
        except (openai.APIConnectionError, OSError) as error:
            if isinstance(why := innermost(error), TooLargeError):
                raise BadAnswer(str(why)) from None
            self._away(server, f"cannot be reached: {cause(error)}")
            return None
        answer = read_answer(found, chat=path == "/chat/completions")
        self._same_model(server, found)
        if isinstance(ids := body.get("prompt"), list) and 0 < (answer.prompt_tokens or 0) < len(ids):
            raise TooLong(f"the server read {answer.prompt_tokens} of the prompt's {len(ids)} tokens: it cuts prompts")
        if answer.finish == "content_filter":
            raise Refused("the server's content filter ended the answer")
        if answer.finish not in ENDED:
            raise BadAnswer(f"finish_reason is {answer.finish!r}")
        return answer

    def _away(self, server: Server, why: str) -> None:
        server.failed(why, None, time.monotonic())
        server.known = False  # who comes back may be another

    def _same_model(self, server: Server, body: Mapping[str, Any]) -> None:
        """Raises GenerationError where an answer is by another model than those before: some servers take any name."""
        name = body.get("model")
        if not isinstance(name, str) or not name:
            return
        server.model = server.model or name
        for one in self.pool.servers:
            if one.model not in ("", name):
                who = "" if one is server else f"{one.url} "
                raise wmtp.GenerationError(
                    f"{server.url} answers with {name!r}, and {who}answered with {one.model!r} before; {ONE_MODEL}"
                )

    async def _see_draws(self, server: Server) -> None:
        """Two draws without a seed must differ at some time: a server may take a temperature and be greedy all the same.

        Raises:
            GenerationError: They do not.
            openai.APIError: It does not answer.
            BadAnswer: It answers with something else.
        """
        asked = wmtp.GenerationRequest(
            key=wmtp.SampleKey(evaluator="probe", problem="draws", index=0),
            prompt="Some words, none twice: ",
            max_new_tokens=24,
        )
        form, body = self.body(asked, wmtp.Sampling(temperature=1.5))
        del body["seed"]
        chat = form.path == "/chat/completions"
        for _ in range(DRAWS):
            one, other = [read_answer(await post(server, form.path, body), chat=chat).text for _ in range(2)]
            if one != other:
                server.draws = True
                return
        raise wmtp.GenerationError(
            f"{server.url} wrote the same text {DRAWS} times in a row at temperature 1.5 without a seed: it does not draw. "
            "transformers serve draws only where generation_config.json of the model says do_sample: true; elsewhere see "
            "model.loaders.openai.extra_body. Or set eval.sampling.temperature: 0."
        )

    async def _introduced(self, server: Server) -> bool:
        """Whether a server that was away is there now. Raises GenerationError where it has another model."""
        try:
            found = await probe(server, self.info.model, self.settings)
            server.rebase(await draft_counters(server))
        except OtherModelError as error:
            raise wmtp.GenerationError(f"{error}. It was away meanwhile; {ONE_MODEL}") from None
        except (wmtp.ConfigError, wmtp.GenerationError) as error:
            server.failed(str(error), None, time.monotonic())
            return False
        if found.kind == "unknown" != self.info.kind:
            server.failed("is back, and does not say what it is", None, time.monotonic())
            return False
        before, now = server.told.get("weights"), found.origin.get("weights")
        if found.is_another_than(self.info) or (before and now and before != now):
            raise wmtp.GenerationError(
                f"{server.url}, which was away, serves {found.shown} now{f' from {now}' if now else ''}, and not "
                f"{self.info.shown}{f' from {before}' if before else ''} as before or as the others; {ONE_MODEL}"
            )
        self.oddities.restarted(server.url, server.told, found.origin)
        server.known, server.told = True, found.origin
        return True

    def _status(self, server: Server, error: openai.APIStatusError, *, seeded: bool) -> None:
        """What an error status means: for the whole run, for the server, or for this request. seeded: it had a seed."""
        status, words = error.status_code, said(error)
        if status in (401, 403):
            raise wmtp.GenerationError(key_refused(server.url, f"{status}: {words}", self.settings)) from None
        if status in NO_PATH:
            raise wmtp.GenerationError(no_path(server, error)) from None
        if status in AWAY:
            server.known = server.known and status == 429  # behind a proxy, who comes back may be another
            server.failed(f"{status}: {words}", retry_after(error), time.monotonic())
        elif status == 400 and PINNED.search(words):
            raise wmtp.GenerationError(
                f"{server.url} serves another model than the one that is named behind the '#' in model.base_id ({words})"
            ) from None
        elif status in (400, 422) and seeded and NO_SEEDS.search(whole(error)):
            server.seeds = False
        elif 400 <= status < 500 and status not in (408, 409, 425):
            if TOO_LONG.search(whole(error)):
                raise TooLong(
                    f"the prompt and max_new_tokens are too long for the server's context ({status}: {words})"
                ) from None
            raise Refused(f"the server refuses the request ({status}): {words}") from None
        else:
            raise BadAnswer(f"{status}: {words}") from None


async def post(server: Server, path: str, body: Mapping[str, Any]) -> Any:
    """The body of an answer of status 2xx, read as JSON, whatever it is.

    Raises:
        openai.APIError: Another status, no connection, no answer in time.
        BadAnswer: It is no JSON.
    """
    url, options = f"{server.url}{path}", {"headers": UNSENT_OF_A_REQUEST}
    try:
        raw = await server.client.post(url, cast_to=httpx2.Response, body=dict(body), options=options)
    except openai.APIConnectionError as error:
        if not isinstance(error.__cause__, httpx2.RemoteProtocolError):
            raise
        # A connection that was kept open, and that the server has closed meanwhile.
        raw = await server.client.post(url, cast_to=httpx2.Response, body=dict(body), options=options)
    try:
        return parsed(raw)
    except ValueError as error:
        raise BadAnswer(str(error)) from None


def _without_seed(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "seed"}
