"""One engine out of several: requests go to workers as they have room, and what a lost worker held is asked of another.

`Spread` is with whoever holds the run folder; what stands beside each engine is in `wmtp.kit.workers`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import attrs

from wmtp.contracts.engines import (
    Completion,
    Departure,
    GenerationRequest,
    GenerationStats,
    HeadScores,
    Message,
    SampleKey,
    Sampling,
)
from wmtp.errors import ConfigError, GenerationError, WmtpError
from wmtp.kit.workers import LOOK_S, Taken, Worker, WorkerFacts, WorkerLostError

LOSSES = 3
"""Times that every worker may be lost without a completion in between, before the run ends."""


@attrs.define(eq=False)
class _Question:
    """What a worker shall tell of a text, and its answer."""

    ask: Callable[[Worker], Any]
    answered: bool = False
    answer: Any = None


@attrs.define(eq=False)
class _Slot:
    """A place for a worker: the thread that speaks with it, and what it holds."""

    inbox: queue.SimpleQueue[tuple[Sequence[GenerationRequest], Sampling] | _Question | None] = attrs.field(
        factory=queue.SimpleQueue
    )
    held: dict[SampleKey, GenerationRequest] = attrs.field(factory=dict)
    ready: bool = False
    stats: GenerationStats = attrs.field(factory=GenerationStats)
    thread: threading.Thread | None = None


class Spread:
    """Workers as one engine. Samples do not depend on their number where logits do not: noise is keyed by the sample."""

    def __init__(
        self, makers: Sequence[Callable[[], Worker]], *, window: int, patience_s: float, advice: str = ""
    ) -> None:
        """Starts the workers; returns when a first one is ready.

        Args:
            makers: One for each worker: it makes one and waits until its engine is open. It is called again after a loss.
            window: Requests that a worker holds at most.
            patience_s: Seconds without any worker after which the run ends.
            advice: What to do where no worker comes.
        """
        self._events: queue.SimpleQueue[tuple[_Slot, Any]] = queue.SimpleQueue()
        self._slots = [_Slot() for _ in makers]
        self._window, self._patience_s, self._advice = window, patience_s, advice
        self._facts: WorkerFacts | None = None
        self.identity: Mapping[str, str] = {}
        self.origin: Mapping[str, str] = {}
        self._lost, self._waiting_since, self._why = 0, time.monotonic(), "none has come yet"
        self._earlier = GenerationStats()
        self._returned: deque[GenerationRequest] = deque()
        self._finished = False
        for slot, make in zip(self._slots, makers, strict=True):
            slot.thread = threading.Thread(target=self._speak, args=(slot, make), daemon=True)
            slot.thread.start()
        try:
            while self._facts is None:
                self._look()
        except BaseException:
            self.close()
            raise

    # The threads, one for each worker

    def _speak(self, slot: _Slot, make: Callable[[], Worker]) -> None:
        while not self._finished:
            worker = None
            try:
                worker = make()
                self._events.put((slot, worker.facts()))
                self._serve(slot, worker)
                return
            except WorkerLostError as error:
                self._events.put((slot, error))
                time.sleep(LOOK_S)
            except Exception as error:  # noqa: BLE001  (raised again where completions are asked for)
                self._events.put((slot, error))
                return
            finally:
                if worker is not None:
                    worker.close()

    def _serve(self, slot: _Slot, worker: Worker) -> None:
        under_way = 0
        while True:
            try:
                item = slot.inbox.get_nowait() if under_way else slot.inbox.get()
            except queue.Empty:
                taken = worker.take()
                under_way -= len(taken.completions)
                self._events.put((slot, taken))
                continue
            if item is None:
                return
            if isinstance(item, _Question):
                try:
                    item.answer = item.ask(worker)
                except WmtpError as error:  # of this text: the worker goes on
                    item.answer = error
                item.answered = True
                self._events.put((slot, item))
                continue
            worker.give(*item)
            under_way += len(item[0])

    # The engine

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        """Completions as they come. Raises GenerationError where no worker is left, and what an engine raised."""
        source, more = iter(requests), True
        while True:
            for slot in self._slots:
                room = self._window - len(slot.held) if slot.ready else 0
                batch: list[GenerationRequest] = []
                while len(batch) < room and (self._returned or more):
                    request = self._returned.popleft() if self._returned else next(source, None)
                    if request is None:
                        more = False
                    else:
                        batch.append(request)
                if batch:
                    slot.held |= {request.key: request for request in batch}
                    slot.inbox.put((batch, sampling))
            if not more and not self._returned and not any(slot.held for slot in self._slots):
                return
            yield from self._look()

    def _look(self) -> Iterable[Completion]:
        """What has happened: completions, a worker that came or was lost."""
        try:
            slot, event = self._events.get(timeout=1.0)
        except queue.Empty:
            self._give_up()
            return ()
        if isinstance(event, Taken):
            slot.stats = event.stats or slot.stats
            found = [c for c in event.completions if slot.held.pop(c.key, None) is not None]
            self._lost = 0 if found else self._lost
            return found
        if isinstance(event, _Question):
            return ()
        if isinstance(event, WorkerFacts):
            self._join(slot, event)
        elif isinstance(event, WorkerLostError):
            self._leave(slot, event)
        else:
            raise event
        return ()

    def _join(self, slot: _Slot, facts: WorkerFacts) -> None:
        first = self._facts = self._facts or facts
        self.identity, self.origin = first.identity, first.origin
        for what, ours, theirs in (
            ("versions", first.versions, facts.versions), ("model", first.identity, facts.identity),
        ):  # fmt: skip
            if ours != theirs:
                differing = [
                    f"{key} {ours.get(key, 'none')} here and {theirs.get(key, 'none')} there"
                    for key in sorted({*ours, *theirs})
                    if ours.get(key) != theirs.get(key)
                ]
                raise ConfigError(
                    f"the workers {first.where or 1} and {facts.where or 2} differ in their {what}: "
                    f"{'; '.join(differing)}. Samples of one run come from one model under one set of versions: "
                    "install the same on both."
                )
        slot.ready = True

    def _leave(self, slot: _Slot, error: WorkerLostError) -> None:
        """Its requests go to others; what it had counted stays counted."""
        self._returned.extend(slot.held.values())
        slot.held, slot.ready = {}, False
        self._earlier, slot.stats = summed(self._earlier, slot.stats), GenerationStats()
        slot.inbox = self._emptied(slot)
        self._lost, self._why = self._lost + 1, str(error)
        if not any(s.ready for s in self._slots):
            self._waiting_since = time.monotonic()
        if self._lost > LOSSES * len(self._slots):
            raise GenerationError(
                f"workers were lost {self._lost} times without a completion in between; the last: {self._why}. What was "
                f"answered is kept, and the same command goes on. {self._advice}"
            )

    def _emptied(self, slot: _Slot) -> Any:
        """The slot's queue without what the lost worker was never given."""
        while True:
            try:
                slot.inbox.get_nowait()
            except queue.Empty:
                return slot.inbox

    def _give_up(self) -> None:
        if any(slot.ready for slot in self._slots) or time.monotonic() - self._waiting_since < self._patience_s:
            return
        raise GenerationError(f"no worker for {self._patience_s:g} s: {self._why}. {self._advice}".rstrip())

    def head_scores(self, prompt: str | Sequence[Message], text: str) -> HeadScores:
        """See `ScoresHeads`."""
        return self._told(lambda worker: worker.head_scores(prompt, text))  # type: ignore[no-any-return]

    def departures(
        self, request: GenerationRequest, sampling: Sampling, texts: Sequence[str]
    ) -> Sequence[Departure | None] | None:
        """See `FindsDepartures`; ``None`` where the workers' engine cannot tell."""
        return self._told(lambda worker: worker.departures(request, sampling, texts))  # type: ignore[no-any-return]

    def _told(self, ask: Callable[[Worker], Any]) -> Any:
        """What one worker answers, and another where it is lost meanwhile."""
        while True:
            slot = next((s for s in self._slots if s.ready), None)
            if slot is None:
                self._look()
                continue
            question = _Question(ask)
            slot.inbox.put(question)
            while not question.answered and slot.ready:
                self._look()
            if isinstance(question.answer, WmtpError):
                raise question.answer
            if question.answered:
                return question.answer

    @property
    def batch_invariant(self) -> bool:
        """As the workers' engines have it."""
        return bool(self._facts and self._facts.batch_invariant)

    @property
    def stats(self) -> GenerationStats:
        """Sums over all workers, lost ones too as far as they had told."""
        total = self._earlier
        for slot in self._slots:
            total = summed(total, slot.stats)
        return total

    def close(self) -> None:
        """Ends the workers. Those that are still being made end with this process."""
        self._finished = True
        for slot in self._slots:
            slot.inbox.put(None)
        for slot in self._slots:
            if slot.thread is not None and slot.ready:
                slot.thread.join(timeout=30)


def summed(one: GenerationStats, other: GenerationStats) -> GenerationStats:
    """Both together: counts are added, position by position; seconds as those of one engine after another."""

    def heads(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
        return tuple(a + b for a, b in zip_longest(first, second, fillvalue=0))

    problems = {
        problem: [
            heads(a, b)
            for a, b in zip_longest(one.by_problem.get(problem, ()), other.by_problem.get(problem, ()), fillvalue=())
        ]
        for problem in {**one.by_problem, **other.by_problem}
    }
    return GenerationStats(
        tokens=one.tokens + other.tokens,
        forwards=one.forwards + other.forwards,
        rows=one.rows + other.rows,
        seconds=one.seconds + other.seconds,
        drafted=heads(one.drafted, other.drafted),
        reached=heads(one.reached, other.reached),
        accepted=heads(one.accepted, other.accepted),
        histogram=heads(one.histogram, other.histogram),
        requests=one.requests + other.requests,
        request_length=one.request_length + other.request_length,
        by_problem=problems,
        notes=tuple(dict.fromkeys((*one.notes, *other.notes))),
    )
