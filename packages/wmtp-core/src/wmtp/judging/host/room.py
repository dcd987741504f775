"""How many programs are handed in ahead of their verdicts."""

from __future__ import annotations

import threading


class Room:
    """Places, each taken from when a program is handed in until its verdict stands.

    Whoever finds none waits until half of them are free, and not for one: a thread that is woken for every verdict takes the
    interpreter's lock from one that has the next program to hand out, and a processor is idle meanwhile.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self.taken = self.waiting = 0
        self._changed = threading.Condition(threading.Lock())

    def enter(self) -> None:
        """Takes a place, and waits where there is none."""
        with self._changed:
            while self.taken >= self._places:
                self.waiting += 1
                self._changed.wait()
                self.waiting -= 1
            self.taken += 1

    def leave(self) -> None:
        with self._changed:
            self.taken -= 1
            if self.waiting and self.taken <= self._places // 2:
                self._changed.notify_all()
