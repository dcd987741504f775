"""How the kernel treats a thread that has work whenever others are done with theirs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def interrupting_nobody() -> Iterator[None]:
    """Within, this thread waits for a processor to be free when it wakes up, and takes none from a program that runs; its share
    of the time stays the same. So it is for threads and processes that it begins. Whoever was given a policy keeps it.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
