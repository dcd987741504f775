"""A worker: an engine somewhere else. `EngineStream` stands beside it, in a process or on a machine of its own.

How whoever holds the run folder and a worker reach one another is the business of who makes the workers.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import attrs

from wmtp.contracts.engines import (
    Closes,
    Completion,
    Departure,
    Engine,
    FindsDepartures,
    GenerationRequest,
    GenerationStats,
    HasOrigin,
    HasStats,
    HeadScores,
    KnowsInvariance,
    Message,
    Sampling,
    ScoresHeads,
)
from wmtp.errors import ConfigError, GenerationError, WmtpError

LOOK_S = 0.2
"""For so long a worker that has nothing to hand over waits before it answers."""
GATHER_S = 0.1
"""For so long it gathers completions while its engine has enough to do: to hand one over may cost more CPU than ten tokens."""


class WorkerLostError(Exception):
    """A worker is gone: killed, or its machine. The text says what is known of it."""


@attrs.frozen(kw_only=True)
class WorkerFacts:
    """What a worker says of its engine. `versions` must be those of all others."""

    identity: Mapping[str, str]
    origin: Mapping[str, str]
    batch_invariant: bool | None
    versions: Mapping[str, str]
    where: str = ""


@attrs.frozen(kw_only=True)
class Taken:
    """What a worker hands over: completions, and what its engine has counted in all."""

    completions: tuple[Completion, ...]
    stats: GenerationStats | None


class Worker(Protocol):
    """An engine elsewhere. Each method may raise `WorkerLostError`, or what the engine raised."""

    def facts(self) -> WorkerFacts: ...

    def give(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None: ...

    def take(self) -> Taken: ...

    def head_scores(self, prompt: str | Sequence[Message], text: str) -> HeadScores: ...

    def departures(
        self, request: GenerationRequest, sampling: Sampling, texts: Sequence[str]
    ) -> Sequence[Departure | None] | None: ...

    def close(self) -> None: ...


class EngineStream:
    """An engine that is given requests and asked for completions; it decodes on a thread of its own."""

    def __init__(self, engine: Engine, versions: Mapping[str, str], where: str = "") -> None:
        self._engine, self._versions, self._where = engine, versions, where
        self._given: queue.SimpleQueue[tuple[GenerationRequest, Sampling] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Completion | Exception] = queue.SimpleQueue()
        self._kept: tuple[GenerationRequest, Sampling] | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def facts(self) -> WorkerFacts:
        engine = self._engine
        return WorkerFacts(
            identity=dict(engine.identity),
            origin=dict(engine.origin) if isinstance(engine, HasOrigin) else {},
            batch_invariant=engine.batch_invariant if isinstance(engine, KnowsInvariance) else None,
            versions=dict(self._versions),
            where=self._where,
        )

    def give(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        for request in requests:
            self._given.put((request, sampling))

    def take(self) -> Taken:
        """Waits a little for a first completion, and less for others. Raises what the engine raised."""
        found: list[Completion] = []
        try:
            item = self._done.get(timeout=LOOK_S)
            until = time.monotonic() + GATHER_S
            while True:
                if isinstance(item, Exception):
                    raise item
                found.append(item)
                wait = 0.0 if self._given.empty() else until - time.monotonic()  # it may be idle until more is given
                item = self._done.get(timeout=wait) if wait > 0 else self._done.get_nowait()
        except queue.Empty:
            stats = self._engine.stats if isinstance(self._engine, HasStats) else None
            return Taken(completions=tuple(found), stats=stats)

    def head_scores(self, prompt: str | Sequence[Message], text: str) -> HeadScores:
        """See `ScoresHeads`; not while it decodes. Raises ConfigError where the engine has no heads to score with."""
        engine: object = self._engine
        if not isinstance(engine, ScoresHeads):
            raise ConfigError("model.base_id: the workers' engine predicts nothing; metrics of heads need a model")
        return engine.head_scores(prompt, text)

    def departures(
        self, request: GenerationRequest, sampling: Sampling, texts: Sequence[str]
    ) -> Sequence[Departure | None] | None:
        """See `FindsDepartures`; not while it decodes."""
        engine: object = self._engine
        return engine.departures(request, sampling, texts) if isinstance(engine, FindsDepartures) else None

    def close(self) -> None:
        self._given.put(None)
        self._thread.join()
        engine: object = self._engine
        if isinstance(engine, Closes):
            engine.close()

    def _run(self) -> None:
        try:
            while (first := self._kept or self._given.get()) is not None:
                self._kept = None
                for completion in self._engine.generate(self._requests(first), first[1]):
                    self._done.put(completion)
        except Exception as error:  # noqa: BLE001  (it is raised where completions are taken)
            self._done.put(error)

    def _requests(self, first: tuple[GenerationRequest, Sampling]) -> Iterator[GenerationRequest]:
        """What is there now, as long as it is drawn in one way; the engine is started again for what comes later."""
        yield first[0]
        while True:
            try:
                item = self._given.get_nowait()
            except queue.Empty:
                return
            if item is None or item[1] != first[1]:
                self._kept = item
                if item is None:
                    self._given.put(None)
                return
            yield item[0]


def raised(error: Exception) -> Exception:
    """An engine's error as it can travel: ours as it is, others as a GenerationError that names them."""
    return error if isinstance(error, WmtpError) else GenerationError(f"{type(error).__name__}: {error}")
