"""Completions that an engine has several of at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence

from wmtp.contracts.engines import Completion


class InBatches(Iterator[Completion]):
    """What `Engine.generate` may return where completions come several at once: one after another, as any iterator, or by
    `together`. Who stores them does so with one write for each batch."""

    def __init__(self, batches: Generator[Sequence[Completion], None, None]) -> None:
        self._batches = batches
        self._rest: deque[Completion] = deque()

    def __next__(self) -> Completion:
        while not self._rest:
            self._rest.extend(next(self._batches))
        return self._rest.popleft()

    def together(self) -> Iterator[Sequence[Completion]]:
        """The completions as they come; none is handed over twice."""
        if self._rest:
            yield tuple(self._rest)
            self._rest.clear()
        yield from self._batches

    def close(self) -> None:
        """Ends the engine's work on what is still under way."""
        self._batches.close()
