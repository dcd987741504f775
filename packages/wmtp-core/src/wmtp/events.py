"""What happens in a run, as one stream of small records, and who listens to it.

Progress bars, observers' hooks and trackers are listeners. Each has a thread and a queue of its own, so none of them costs
the run anything but putting a record into a queue: one that raises is reported once and left out, one that is slow is waited
for at the end, when everything is on disk and whoever waits for the run has been told. The queue has no bound (a record points
to what the run made anyway), so nothing is ever lost to a slow listener. At the end it is waited for as long as it goes on: one
that spends more than `STUCK_AFTER_S` on a single record is left, and what it did not hear is counted in the log; so are all
that are behind where somebody stops the waiting.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from wmtp.contracts.evaluation import Sample, Verdict
from wmtp.contracts.runs import RunKind, RunRecord
from wmtp.contracts.specs import Listener

log = logging.getLogger("wmtp.events")
STUCK_AFTER_S = 60.0
SAID_AFTER_S = 2.0
"""How long the end waits for a listener before it says so, the first time."""
_POLL_S = 0.05
_PAUSE_S = 0.02
"""How long a listener that has heard all waits for more: to be woken for every event would cost the run more than the event."""


@attrs.frozen(kw_only=True)
class RunStarted:
    """A run begins, or goes on. config, recipe: as plain data."""

    name: str
    kind: RunKind
    folder: Path
    metrics: tuple[str, ...] = ()
    config: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    recipe: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class ProgressTotals:
    """How many samples an evaluator will have in the end, and what was there when it began."""

    evaluator: str
    total: int
    samples: int
    verdicts: int


@attrs.frozen(kw_only=True)
class SampleGenerated:
    """A sample is on disk."""

    sample: Sample


@attrs.frozen(kw_only=True)
class SampleJudged:
    """A sample has its verdict, and both are on disk."""

    sample: Sample
    verdict: Verdict


@attrs.frozen(kw_only=True)
class BytesMoved:
    """A model or data set is fetched or uploaded.

    Attributes:
        direction: Which way.
        event: ``"total"``: `count` bytes will come; ``"kept"``: were there already; ``"bytes"``: have come.
        count: How many.
    """

    direction: Literal["download", "upload"]
    event: str
    count: int


@attrs.frozen(kw_only=True)
class StageFinished:
    """A part of a run ended: an evaluator, say. `error` is what it raised."""

    name: str
    seconds: float
    error: Exception | None = None


@attrs.frozen(kw_only=True)
class StepLogged:
    """Numbers of one step of a training. `time`: when they came to be, in seconds since 1970."""

    step: int
    values: Mapping[str, float]
    time: float = attrs.field(factory=time.time)


@attrs.frozen(kw_only=True)
class CheckpointSaved:
    """A checkpoint is on disk."""

    step: int
    path: Path


@attrs.frozen(kw_only=True)
class CheckpointEvaluated:
    """A training's checkpoint was evaluated, in a run folder of its own, whose results.json is `record`."""

    step: int
    record: RunRecord = attrs.field(repr=False)
    time: float = attrs.field(factory=time.time)


@attrs.frozen(kw_only=True)
class RunFinished:
    """A run ended. Every `RunStarted` has one: with the `record` of results.json, or with the `error` that ended it."""

    name: str
    kind: RunKind
    folder: Path
    record: RunRecord | None = attrs.field(default=None, repr=False)
    error: BaseException | None = None


Event: TypeAlias = (
    RunStarted
    | ProgressTotals
    | SampleGenerated
    | SampleJudged
    | BytesMoved
    | StageFinished
    | StepLogged
    | CheckpointSaved
    | CheckpointEvaluated
    | RunFinished
)


class Emitter:
    """Hands events to listeners. `emit` may be called from any thread and never raises; use it as a context manager."""

    def __init__(self, listeners: Iterable[tuple[str, Listener]] = (), *, stuck_after_s: float = STUCK_AFTER_S) -> None:
        """listeners: (name for messages, listener)."""
        self._stuck_after_s = stuck_after_s
        self._workers = [_Worker(name, listener) for name, listener in listeners]

    def emit(self, event: Event) -> None:
        """Put an event into every listener's queue."""
        for worker in self._workers:
            worker.put(event)

    def close(self) -> None:
        """Wait until every listener has heard all, or is stuck. A second call does nothing."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.end()
        try:
            for worker in workers:
                worker.drain(self._stuck_after_s)
        except KeyboardInterrupt:  # ctrl-C, or SIGTERM: the run is on disk, and what is lost is said
            for worker in workers:
                worker.leave("is left, as it was asked to stop")
            raise

    def __enter__(self) -> Emitter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """One listener on its thread."""

    def __init__(self, name: str, listener: Listener) -> None:
        self._name, self._listener = name, listener
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._busy_since = time.monotonic()
        self._dropped = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"wmtp listener {name}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        if not self._dropped:
            self._queue.put(event)

    def end(self) -> None:
        self._queue.put(None)
        self._ending.set()

    def drain(self, stuck_after_s: float) -> None:
        say = time.monotonic() + SAID_AFTER_S
        while self._thread.is_alive():
            self._thread.join(_POLL_S)
            now = time.monotonic()
            if now - self._busy_since > stuck_after_s:
                self.leave("is stuck and is left")
                return
            if now > say and self._behind:
                say = now + stuck_after_s
                log.info("the run is on disk; waiting for listener %s, %d events behind", self._name, self._behind)

    @property
    def _behind(self) -> int:
        """Events in the queue, the end's mark aside."""
        return max(0, self._queue.qsize() - 1)

    def leave(self, why: str) -> None:
        """Say what it has not heard, if it goes on still."""
        if self._thread.is_alive():
            log.warning("listener %s %s; events it has not heard: %d", self._name, why, self._behind)

    def _run(self) -> None:
        try:
            while (event := self._queue.get()) is not None:
                self._busy_since = time.monotonic()
                self._listener.handle(event)
                if self._queue.empty():
                    self._ending.wait(_PAUSE_S)
            self._busy_since = time.monotonic()
            self._listener.close()
        except Exception as error:
            self._dropped = True
            log.warning("listener %s failed and is left out: %r", self._name, error)
            log.debug("its traceback", exc_info=error)
