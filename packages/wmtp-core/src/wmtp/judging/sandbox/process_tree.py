"""Processes below a process, from /proc: what they hold, and how to end them all. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable


def children(pid: int) -> list[int]:
    """Children of `pid`, whichever of its threads made them; none if it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """Everything below `pid`, parents before their children."""
    found = children(pid)
    for process in found:  # grows while we go
        found += children(process)
    return found


def private_bytes(pid: int) -> int:
    """Resident memory of one process that is not a file's: its own, and what it still shares with whom it was forked from.

    Anonymous shared memory counts too (what ``mmap.mmap(-1, n)`` gives), which statm would lump together with files.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if line.startswith(("RssAnon:", "RssShmem:"))]
    except OSError:
        return 0
    return sum(int(line[1]) for line in lines) << 10


def cpu_seconds(pid: int) -> float:
    """CPU that one process has used, without its children; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_below(pid: int, *, spare: Iterable[int] = ()) -> None:
    """Kills everything below `pid`. Stopped first, until no new one appears, so that a fork bomb cannot outrun it."""
    kept, stopped = set(spare), set[int]()
    while new := set(descendants(pid)) - stopped - kept:
        _signal(new, signal.SIGSTOP)
        stopped |= new
    _signal(stopped, signal.SIGKILL)
