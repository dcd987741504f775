"""A sign of life where there is no terminal: a line a minute in the log of a cluster's job."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

INTERVAL_S = 60.0
_MIB = 2**20

log = logging.getLogger("wmtp")


class ProgressLines:
    """Hears of samples, verdicts and bytes, from several threads; says once in a while how far each has come."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._said = clock()
        self._totals: dict[str, int] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def report(self, who: str, event: str, count: int) -> None:
        """An evaluator with ``total``, ``sample`` or ``verdict``, or a transfer with ``total``, ``kept`` or ``bytes``."""
        with self._lock:
            if event == "total":
                self._totals[who], self._counts[who] = count, {}
                return
            counts = self._counts.setdefault(who, {})
            counts[event] = counts.get(event, 0) + count
            if self._clock() - self._said < INTERVAL_S:
                return
            self._said = self._clock()
            line = self._line(who, counts)
        log.info("%s", line)

    def _line(self, who: str, counts: dict[str, int]) -> str:
        total = self._totals.get(who, 0)
        if moved := counts.get("bytes", 0) + counts.get("kept", 0):
            return f"{who}: {moved / _MIB:,.0f} of {total / _MIB:,.0f} MiB"
        samples, verdicts = counts.get("sample", 0), counts.get("verdict", 0)
        return f"{who}: {samples:,} samples and {verdicts:,} verdicts of {total:,}"
