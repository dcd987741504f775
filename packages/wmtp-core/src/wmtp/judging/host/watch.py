"""What is looked at from outside while a program runs: time, CPU and memory that no limit on a single process sees.

A program is late by the clock, less the time that it could not run for: waiting for its processor while others had it
(``/proc/…/schedstat``), or while the machine's host had it (stolen, ``/proc/stat``). So no load that comes while it runs makes
a right program late, and a program that sleeps gains nothing.
"""

from __future__ import annotations

import os
import time

from wmtp.judging.sandbox import process_tree

PATIENCE_FACTOR = 20
"""Times its wall limit that a program may take in all, whatever it waited for."""
GRACE_SECONDS = 10.0  # for the checker to answer once the program is gone
ALARM_SECONDS = 2.0  # beyond the wall limit; the checker's alarm goes off after one
CPU_SLACK = 0.5  # the program's own watchdog is exact; this one catches what that does not see
MISSED_SECONDS = 1.0
"""Longer than between two looks, even on a busy machine. Beyond it the judge stood still itself, and its programs with it."""
SOCKET_BYTES = 212_992  # what a socket can hold unread, where nobody has raised it
FREE_SOCKETS = 8


def can_see_waiting() -> bool:
    """Whether this kernel tells how long a process has waited for a processor."""
    return os.path.exists("/proc/self/schedstat")


class Watch:
    """One program in one pair, from its first long silence on."""

    def __init__(self, zygote: int, checker: int, processor: int, *, strict: bool) -> None:
        self._zygote, self._checker, self._processor, self._strict = zygote, checker, processor, strict
        self._started = time.monotonic()
        self._trusted = [checker, *self.spared()] if strict else [checker, zygote]
        self._waited_before = self._waiting_of_trusted()
        self._stolen_before = process_tree.stolen_seconds(processor)
        self._checker_before = process_tree.cpu_seconds(checker)
        self._first: dict[int, process_tree.Times] = {}  # thread → what it had used when we first looked
        self._last: dict[int, process_tree.Times] = {}  # and when it was last seen: the dead ones' CPU counts
        self._waited = self._missed = 0.0
        self._looked = self._started
        self._times(first=True)

    def spared(self) -> list[int]:
        """At level strict the zygote that forks is the only child of the process we started."""
        return process_tree.children(self._zygote)[:1] if self._strict else []

    def programs(self) -> list[int]:
        spared = self.spared()
        return [pid for pid in process_tree.descendants(self._zygote) if pid not in spared]

    def end_programs(self) -> None:
        process_tree.end_below(self._zygote, spare=self.spared())

    def _waiting_of_trusted(self) -> float:
        return sum(times.waited for pid in self._trusted for times in process_tree.threads(pid).values())

    def _times(self, *, first: bool = False) -> dict[int, process_tree.Times]:
        """Thread → CPU and waiting since we first looked, of threads that live."""
        found = {}
        for pid in self.programs():
            for thread, times in process_tree.threads(pid).items():
                begun = self._first.setdefault(thread, times if first else process_tree.Times(0.0, 0.0))
                found[thread] = process_tree.Times(times.cpu - begun.cpu, times.waited - begun.waited)
        self._last |= found
        return found

    def look(self, *, wall: float, cpu: float, memory_mib: int, processes: int, patience: int = PATIENCE_FACTOR) -> str:
        """Why the program must be stopped now (``"processes"``, ``"memory"``, ``"cpu"``, ``"wall"``), or ``""``."""
        if self._note_waiting() > processes:
            return "processes"
        if self._used() > cpu + CPU_SLACK:
            return "cpu"
        if self._memory() > 2 * memory_mib << 20:
            return "memory"
        return "wall" if self._fair_seconds() > wall or self.seconds() > patience * wall else ""

    def seconds(self) -> float:
        """Since the first look, but for the time that nobody can have run: a container that was paused, a frozen cgroup."""
        return time.monotonic() - self._started - self._missed

    def _used(self) -> float:
        return sum(times.cpu for times in self._last.values())

    def _note_waiting(self) -> int:
        """Notes how long, since the last look, the program wanted to run and others had its processor.

        Returns how many threads live.

        Its own threads wait for each other too, so what the others of them have used is taken off what one has waited. Threads
        that take turns (they share the interpreter's lock) wait in turns, so their waiting adds up; threads that wait at once
        lose no more time than went by. A wait is told when it ends, so one may be longer than the time since the last look.
        """
        before, then = dict(self._last), self._looked
        now = self._times()
        self._looked = time.monotonic()
        none = process_tree.Times(0.0, 0.0)
        used = {thread: times.cpu - before.get(thread, none).cpu for thread, times in now.items()}
        others = sum(used.values())
        waited = [
            max(0.0, times.waited - before.get(thread, none).waited - (others - used[thread]))
            for thread, times in now.items()
        ]
        idle = max(0.0, self._looked - then - others)
        missed = max(0.0, idle - MISSED_SECONDS - sum(waited))
        self._missed += missed
        self._waited += min(sum(waited), max(idle - missed, *waited, 0.0))
        return len(now)

    def _fair_seconds(self) -> float:
        """Seconds that have gone by but for those lost to others. Zygote, checker and program take turns, so their waiting adds
        up."""
        waited = min(self._waited, self.seconds() - self._used()) + self._waiting_of_trusted() - self._waited_before
        return self.seconds() - waited - (process_tree.stolen_seconds(self._processor) - self._stolen_before)

    def checker_is_busy(self, wall: float) -> bool:
        """Whether the checker has computed for longer than its own alarm allows: it is deep in C, where no alarm is heard."""
        return process_tree.cpu_seconds(self._checker) - self._checker_before > wall + ALARM_SECONDS

    def checker_is_silent(self, wall: float, patience: int = PATIENCE_FACTOR) -> bool:
        """Whether an answer is overdue even though the program must have been stopped long ago. A checker that still computes
        gets its time, which on a busy machine comes late."""
        waits = process_tree.state(self._checker) not in ("R", "D")
        overdue = waits and self._fair_seconds() > wall + GRACE_SECONDS
        return overdue or self.seconds() > patience * wall + GRACE_SECONDS

    def _memory(self) -> int:
        """Bytes that the program's processes hold beyond what each was forked with, and what their sockets may hold."""
        spared = self.spared()
        baseline = process_tree.private_bytes(spared[0] if spared else self._zygote)
        sockets: set[str] = set()
        held = 0
        for pid in self.programs():
            held += max(0, process_tree.private_bytes(pid) - baseline)
            sockets |= process_tree.sockets(pid)
        return held + max(0, len(sockets) - FREE_SOCKETS) * SOCKET_BYTES
