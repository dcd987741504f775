"""The engine: requests go to the servers from an event loop on a thread of its own, completions come back as they are there."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

import attrs

import wmtp
from wmtp import kit
from wmtp_openai.client import open_client
from wmtp_openai.copies import Copies
from wmtp_openai.oddities import Oddities
from wmtp_openai.pool import Pool, Server
from wmtp_openai.probe import ServerInfo, draft_counters, probe
from wmtp_openai.prompts import Prompts
from wmtp_openai.requests import Asker
from wmtp_openai.scores import find_departures
from wmtp_openai.settings import OpenAISettings, parse_reference
from wmtp_openai.templates import Templates

T = TypeVar("T")
log = logging.getLogger("wmtp.openai")

AHEAD = 16
"""Requests beyond those under way that wait for a server, at least, so that none waits for us."""
TOGETHER_S = 0.02
"""For so long completions are gathered before they are handed over: each handing over is two changes of thread."""
AT_ONCE = 8
"""Requests that are handed to the loop together: each handing over wakes its thread."""
SEEDS_ARE_HINTS = (
    "seeds are sent, but a server that computes requests beside one another may not write the same text again: samples that "
    "are stored stay, those that are asked for again may differ"
)

NO_SEEDS = "the server takes no seeds: samples that are stored stay, those that are asked for again are others"


def open_engine(reference: str, settings: OpenAISettings) -> OpenAIEngine:
    """Asks the servers what they are.

    Raises:
        ConfigError: The reference, the model's name or the key is wrong, or the servers are of different models.
        GenerationError: A server does not answer.
    """
    url, model = parse_reference(reference)
    engine = OpenAIEngine(dict.fromkeys([url, *(u.rstrip("/") for u in settings.urls)]), model, settings)
    try:
        engine.start()
    except BaseException:
        engine.close()
        raise
    return engine


class OpenAIEngine:
    """Servers of one model as an engine. Made by `open_engine`."""

    def __init__(self, urls: Iterable[str], model: str, settings: OpenAISettings) -> None:
        self._urls, self._model, self._settings = tuple(urls), model, settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="openai", daemon=True)
        self._at_once = settings.concurrency * len(self._urls)
        self._tokens, self._seconds = 0, 0.0
        self._copies, self._oddities = Copies(), Oddities()
        self._drawn = False
        self.identity: Mapping[str, str] = {}
        self.origin: Mapping[str, str] = {}

    def start(self) -> None:
        """Probes the servers; see `open_engine`."""
        self._thread.start()
        infos = self._wait(self._open())
        first = infos[0]
        if other := next((i for i in infos if i.is_another_than(first)), None):
            raise wmtp.ConfigError(
                f"model.loaders.openai.urls: {first.origin['server']} serves {first.shown}, and {other.origin['server']} "
                f"{other.shown}; samples of one run come from one model"
            )
        prompts = Prompts(self._settings, first.kind)
        templates = Templates(first.kind, first.model)
        self._asker = Asker(self._pool, first, prompts, self._settings, templates, self._oddities)
        extra = {f"extra {key}": str(value) for key, value in self._settings.extra_body.items()}
        self.identity = {
            "engine": "openai", "server": first.kind, "name": first.model, "api": self._settings.api,
            "prompts": prompts.form, **({"weights": first.weights} if first.weights else {}), **extra,
        }  # fmt: skip
        self.origin = {**first.origin, "id": first.model, "servers": " ".join(self._urls)}

    async def _open(self) -> list[ServerInfo]:
        clients = [open_client(url, self._settings) for url in self._urls]
        servers = [Server(url, c, self._settings.concurrency) for url, c in zip(self._urls, clients, strict=True)]
        self._pool = Pool(servers, self._settings.patience_s)
        infos, away = [], []
        for server in servers:
            try:
                infos.append(await probe(server, self._model, self._settings))
                server.told = infos[-1].origin
                server.counted = await draft_counters(server)
            except wmtp.GenerationError as error:
                away.append((server, error))
        for server, why in away:
            if not infos:
                raise why
            log.warning("%s It is left out, and tried again.", why)
            server.known = False
            server.failed(str(why), None, time.monotonic())
        return infos

    async def _counters(self) -> list[tuple[int, tuple[int, ...]]]:
        """What each server has counted by now; of one that does not tell, what it had counted at the start."""
        now = []
        for server in self._pool.servers:
            found = await draft_counters(server) if server.known else (0, ())
            server.rebase(found)
            now.append(found if found[1] else server.counted)
        return now

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def generate(
        self, requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling
    ) -> Iterator[wmtp.Completion]:
        """Completions as they come. Raises GenerationError where no request can be served any more."""
        return kit.InBatches(self._batches(requests, sampling))

    def _batches(
        self, requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling
    ) -> Generator[Sequence[wmtp.Completion], None, None]:
        if sampling.temperature > 0 and not self._drawn:
            self._drawn = True
            self._pool.prove_draws()
        source, work = iter(requests), _Work(done=_Gathered(self._loop))
        # Answers come in bursts: each leaves room for one that is at hand.
        window = self._at_once + max(AHEAD, self._at_once)
        started, under_way, more = time.monotonic(), 0, True
        try:
            while True:
                if more and window - under_way >= AT_ONCE:
                    batch = list(itertools.islice(source, window - under_way))
                    more = len(batch) == window - under_way
                    self._loop.call_soon_threadsafe(self._begin, batch, sampling, work)
                    under_way += len(batch)
                if not under_way:
                    return
                came = work.done.get()
                under_way -= len(came)
                completions = [item for item in came if not isinstance(item, Exception)]
                for completion in completions:
                    self._count(completion, sampling)
                if completions:
                    yield completions
                for item in came:
                    if isinstance(item, Exception):
                        raise item
        finally:
            if under_way and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(work.cancel)
            self._seconds += time.monotonic() - started

    def _begin(self, batch: Sequence[wmtp.GenerationRequest], sampling: wmtp.Sampling, work: _Work) -> None:
        """On the loop: hands requests to those that ask, as many as there may be at once.

        Whoever has an answer asks for the next at once, over the connection that is free then. A task for each request would
        leave connections idle in between, and the client looks at every idle one before it sends.
        """

        async def ask() -> None:
            try:
                while work.waiting:
                    work.done.put(await self._asker.complete(work.waiting.popleft(), sampling))
            except Exception as error:  # noqa: BLE001  (raised again where completions are taken)
                work.done.put(error)
            finally:
                work.asking -= 1  # not in a callback: nobody may come in between who counts on this one

        work.waiting.extend(batch)
        for _ in range(min(len(batch), self._at_once - work.asking)):
            work.asking += 1
            task = self._loop.create_task(ask())
            work.tasks.add(task)
            task.add_done_callback(work.tasks.discard)

    def _count(self, completion: wmtp.Completion, sampling: wmtp.Sampling) -> None:
        if completion.finish_reason in ("error", "too-long"):
            return
        self._tokens += completion.tokens
        if sampling.temperature > 0:
            self._copies.add(completion)

    def departures(
        self, request: wmtp.GenerationRequest, sampling: wmtp.Sampling, texts: Sequence[str]
    ) -> list[wmtp.Departure | None] | None:
        """See `wmtp.FindsDepartures`: at temperature 0, by the scores that the server gives."""
        return None if sampling.temperature > 0 else self._wait(find_departures(self._asker, request, sampling, texts))

    @property
    def stats(self) -> wmtp.GenerationStats:
        """Totals; drafts are the difference of the servers' own counters, where they have them (vLLM)."""
        seeds = all(server.seeds for server in self._pool.servers)
        notes = [SEEDS_ARE_HINTS if seeds else NO_SEEDS] if self._drawn else []
        notes += [*self._copies.notes(), *self._oddities.notes()]
        drafted, accepted = self._drafts()
        return wmtp.GenerationStats(
            tokens=self._tokens, seconds=self._seconds, drafted=drafted, accepted=accepted, notes=tuple(notes)
        )

    def _drafts(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not any(server.counted[1] for server in self._pool.servers) or self._loop.is_closed():
            return (), ()
        now = self._wait(self._counters())
        counted = [server.counted for server in self._pool.servers]
        width = max(len(positions) for _, positions in now)
        drafts = sum(after[0] - before[0] for after, before in zip(now, counted, strict=True))
        accepted = tuple(
            sum((a[1][i : i + 1] or (0,))[0] - (b[1][i : i + 1] or (0,))[0] for a, b in zip(now, counted, strict=True))
            for i in range(width)
        )
        return (drafts,) * width, accepted

    @property
    def batch_invariant(self) -> bool:
        """Nobody promises it: a server computes requests beside whatever others ask it."""
        return False

    def close(self) -> None:
        """Ends the loop and its connections. Requests under way are dropped; nothing is stored of them."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _drop(self) -> None:
        others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if hasattr(self, "_pool"):
            for server in self._pool.servers:
                await server.client.close()


class _Gathered:
    """Completions on their way from the loop's thread to the one that takes them, several at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._some: list[wmtp.Completion | Exception] = []
        self._ready = SimpleQueue[list[wmtp.Completion | Exception]]()

    def put(self, item: wmtp.Completion | Exception) -> None:
        """Called on the loop."""
        if not self._some:
            self._loop.call_later(TOGETHER_S, self._hand_over)
        self._some.append(item)

    def _hand_over(self) -> None:
        self._ready.put(self._some)
        self._some = []

    def get(self) -> list[wmtp.Completion | Exception]:
        """Waits for the next ones."""
        return self._ready.get()


@attrs.define(eq=False)
class _Work:
    """Requests that wait, and those that ask them. Touched by the loop's thread alone."""

    done: _Gathered
    waiting: deque[wmtp.GenerationRequest] = attrs.field(factory=deque)
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)
    asking: int = 0

    def cancel(self) -> None:
        self.waiting.clear()
        for task in list(self.tasks):
            task.cancel()
