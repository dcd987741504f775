"""When a process has used up its CPU. For whoever waits for one: the zygote, and the keeper of stdin programs. Standard library
only.
"""

from __future__ import annotations

import select
import time


class Watchdog:
    """Waits for events while a process has CPU left. It reads no other clock: that it slept, nobody here knows.

    The clock on the wall is looked at from outside (`wmtp.judging.host.watch`), where it can be seen how long it had to wait.
    """

    def __init__(self, pid: int, cpu: float) -> None:
        self._clock = ~pid << 3 | 2  # how Linux numbers the CPU clock of a process
        self._cpu = cpu

    def wait(self, poll: select.poll) -> list[tuple[int, int]]:
        """The next events of `poll`; none once the process has to be stopped. Its own clock says exactly what it has used,
        and is only looked at when that could be enough."""
        spare = self._cpu
        while spare > 0:
            events = poll.poll(min(spare, 1e6) * 1000 + 1)
            if events:
                return events
            spare = self._cpu - self._used()
        return []

    def _used(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:  # gone: `poll` tells next
            return 0.0
