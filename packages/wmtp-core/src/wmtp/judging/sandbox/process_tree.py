"""Processes below a process, from /proc: what they hold, and how to end them all. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Times(NamedTuple):
    """Seconds of one thread: on a processor, and waiting for one that others had."""

    cpu: float
    waited: float


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

    Anonymous shared memory counts too (what ``mmap.mmap(-1, n)`` gives), which statm would lump together with files. A process
    whose first thread has left shows its memory only in the others'.
    """
    lines = _memory_lines(f"/proc/{pid}/status")
    if not lines:
        lines = next(filter(None, (_memory_lines(f"{thread}/status") for thread in _threads(pid))), [])
    return sum(int(line[1]) for line in lines) << 10


def _memory_lines(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.split() for line in file if line.startswith(("RssAnon:", "RssShmem:"))]
    except OSError:
        return []


def _threads(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/task/{thread}" for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def threads(pid: int) -> dict[int, Times]:
    """The times of each living thread; zeros where the kernel does not tell."""
    found = {}
    for thread in _threads(pid):
        try:
            with open(f"{thread}/schedstat", encoding="ascii") as file:
                cpu, waited, _ = file.read().split()
        except (OSError, ValueError):
            continue
        found[int(thread.rpartition("/")[2])] = Times(int(cpu) / 1e9, int(waited) / 1e9)
    return found


def sockets(pid: int) -> set[str]:
    """The sockets that a process holds open, by name; none where we may not look."""
    found = set[str]()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return {name for name in found if name.startswith("socket:")}


def _stat(pid: int) -> list[str]:
    """What stands behind the name in /proc/<pid>/stat; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def state(pid: int) -> str:
    """``R`` (runs, or would), ``S`` (waits for something), ``Z`` … as /proc has it; ``""`` if it is gone."""
    return (_stat(pid) or [""])[0]


def cpu_seconds(pid: int) -> float:
    """CPU that one process has used, without its children; 0 if it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def stolen_seconds(processor: int) -> float:
    """How long the host of this virtual machine has kept a processor for itself; 0 where it is not told."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            line = next((line for line in file if line.startswith(f"cpu{processor} ")), "")
    except OSError:
        return 0.0
    fields = line.split()
    return int(fields[8]) / _TICKS if len(fields) > 8 else 0.0


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
