"""When a process has to be stopped. For whoever waits for one: the zygote, and the keeper of stdin programs. Standard library
only."""

from __future__ import annotations

import select
import time


class Watchdog:
    """When a process has to be stopped: at a moment (of ``time.monotonic``), or once it has used so many seconds of CPU."""

    def __init__(self, pid: int, deadline: float, cpu: float) -> None:
        self._clock = ~pid << 3 | 2  # how Linux numbers the CPU clock of a process
        self._deadline, self._cpu = deadline, cpu
        self._soonest = time.monotonic() + cpu  # when that could be used up

    def late(self) -> bool:
        return time.monotonic() >= self._deadline

    def wait(self, poll: select.poll) -> list[tuple[int, int]]:
        """The next events of `poll`; none once the process has to be stopped. Its own clock says exactly what it has used,
        and is only looked at when that could be enough."""
        while (left := self._deadline - (now := time.monotonic())) > 0:
            spare = self._soonest - now
            if spare <= 0:
                spare = self._cpu - self._used()
            if spare <= 0:
                return []
            events = poll.poll(min(left, spare) * 1000 + 1)
            if events:
                return events
        return []

    def _used(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:  # gone: `poll` tells next
            return 0.0
