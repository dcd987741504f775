"""Programs that are handed in, until somebody judges them."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """A queue with so many places, each taken until its program has been judged, and with so many workers who take from it.

    Whoever finds no place waits until half of them are free, and not for one: a thread that is woken for every verdict takes
    the interpreter's lock from one that has the next program to hand out, and a processor is idle meanwhile.
    """

    def __init__(self, places: int, workers: int) -> None:
        self._places, self._workers = places, workers
        self._queue: collections.deque[T] = collections.deque()
        self.taken = self.waiting = self.working = 0
        self._closed = False
        self._changed = threading.Condition(threading.Lock())

    def put(self, program: T) -> bool:
        """Waits for a place. Returns whether one more worker is to begin. Raises RuntimeError once closed."""
        with self._changed:
            while self.taken >= self._places and not self._closed:
                self.waiting += 1
                self._changed.wait()
                self.waiting -= 1
            if self._closed:
                raise RuntimeError("the judge is closed")
            self.taken += 1
            self._queue.append(program)
            if self.working == self._workers:
                return False
            self.working += 1
            return True

    def take(self, done: int) -> T | None:
        """For a worker that has judged so many: its next program, or None, and then it ends."""
        with self._changed:
            self._leave(done)
            if self._queue:
                return self._queue.popleft()
            self.working -= 1
            return None

    def take_ahead(self, done: int, fits: Callable[[T], bool]) -> T | None:
        """For a worker that still judges one: another, if the first in the queue fits, and enough wait that no other worker
        goes without."""
        with self._changed:
            self._leave(done)
            return self._queue.popleft() if len(self._queue) >= self._workers and fits(self._queue[0]) else None

    def close(self, *, drop: bool) -> list[T]:
        """Takes no more. Returns what nobody has begun with, if that is to be dropped."""
        with self._changed:
            self._closed = True
            dropped = list(self._queue) if drop else []
            for _ in dropped:
                self._queue.popleft()
            self._leave(len(dropped))
            self._changed.notify_all()
        return dropped

    def take_back(self, program: T) -> None:
        """What was put there, where no worker can begin."""
        with self._changed:
            self.working -= 1
            if program in self._queue:
                self._queue.remove(program)
                self._leave(1)

    def _leave(self, count: int) -> None:
        self.taken -= count
        if self.waiting and self.taken <= self._places // 2:
            self._changed.notify_all()
