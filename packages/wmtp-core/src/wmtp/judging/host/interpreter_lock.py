"""Whether the threads of this process queue for the interpreter's lock."""

from __future__ import annotations

import time
from collections.abc import Callable

GIVEN_UP_SECONDS = 0.0002  # long enough for whoever waits to take it
WANTED_SECONDS = 0.001  # beyond that: a free lock comes back within microseconds
PAUSE_SECONDS = 0.05
LONGEST_SECONDS = 1.0


def is_wanted() -> bool:
    """Whether the lock, once given up, takes so long to come back that somebody computes under it."""
    started = time.perf_counter()
    time.sleep(GIVEN_UP_SECONDS)
    return time.perf_counter() - started > GIVEN_UP_SECONDS + WANTED_SECONDS


def wait_for_a_lull(still: Callable[[], bool], longest: float = LONGEST_SECONDS) -> None:
    """Return when nobody wants the lock or `still` is false, after so many seconds at the latest.

    Each verdict takes some of the time that there is under the lock, and makes whoever has it give it up twice, however many
    processors are idle. One now and then costs nothing, and a program may run for long: so none waits for ever.
    """
    until = time.monotonic() + longest
    while still() and is_wanted() and time.monotonic() < until:
        time.sleep(PAUSE_SECONDS)
