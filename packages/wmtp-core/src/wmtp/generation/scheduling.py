"""Requests that wait for a slot."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable

from wmtp.contracts.engines import GenerationRequest

LOOK_AHEAD = 512  # requests held back to start prompts in the order of their lengths


class WaitingQueue:
    """Requests, tokenized a window ahead, in the order of their prompts' lengths; a prompt's samples one after another."""

    def __init__(
        self,
        requests: Iterable[GenerationRequest],
        tokenize: Callable[[GenerationRequest], list[int]],
        *,
        shortest_first: bool = False,
    ) -> None:
        self._order = 1 if shortest_first else -1
        self._source, self._ended = iter(requests), False
        self._tokenize = tokenize
        self._heap: list[tuple[int, int, list[int], deque[GenerationRequest]]] = []
        self._groups: dict[tuple[int, ...], deque[GenerationRequest]] = {}
        self._held = 0
        self._seen = 0
        self._current: tuple[list[int], deque[GenerationRequest]] | None = None

    def _fill(self) -> None:
        while self._held < LOOK_AHEAD:
            if (request := next(self._source, None)) is None:
                self._ended = True
                return
            ids = self._tokenize(request)
            key = tuple(ids)
            if key not in self._groups:
                self._groups[key] = deque()
                heapq.heappush(self._heap, (self._order * len(ids), self._seen, ids, self._groups[key]))
                self._seen += 1
            self._groups[key].append(request)
            self._held += 1

    def next(self) -> tuple[list[int], GenerationRequest] | None:
        if self._current is None or not self._current[1]:
            if self._current is not None:
                # Before more is pulled: what has the same prompt would join this group, which nobody asks any more.
                self._groups.pop(tuple(self._current[0]), None)
                self._current = None
            self._fill()
            if not self._heap:
                return None
            _, _, ids, group = heapq.heappop(self._heap)
            self._current = (ids, group)
        ids, group = self._current
        self._held -= 1
        return ids, group.popleft()

    def put_back(self, request: GenerationRequest) -> None:
        """The request that came last comes next again."""
        assert self._current is not None
        self._current[1].appendleft(request)
        self._held += 1

    def at_most(self) -> int | None:
        """How many more can come; ``None`` as long as nobody knows."""
        return self._held if self._ended else None

    def waiting(self) -> bool:
        """Whether more is to come."""
        if not (self._current and self._current[1]) and not self._heap:
            self._fill()
        return bool((self._current and self._current[1]) or self._heap)
