"""Follows a run's journal and hands it to one tracker: the process beside a run, and what ``wmtp track sync`` does.

What has been sent is noted in ``tracking/<tracker>.json`` after each call that succeeded: the journal's byte up to which it is,
and the tracker's own memory. So whoever goes on begins where the last one stopped.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import filelock

from wmtp.contracts.tracking import Point, TrackedRun, Tracker
from wmtp.errors import ConfigError
from wmtp.runs.folder import read_object, write_atomically
from wmtp.tracking.journal import FOLDER, Artifact, Ended, Entry, Link, Numbers, journal_path, read_journal

log = logging.getLogger("wmtp.tracking")
BATCH = 500
POLL_S = 0.5
LONGEST_PAUSE_S = 10.0
LATEST_S = 60.0
"""How long a process goes on behind a run that has ended, or was killed."""
ENDING_S = 3.0
"""How long ``wmtp track sync`` waits for the process of a run that has just ended."""
_MOST_REFUSED = 50


@attrs.frozen(kw_only=True)
class Order:
    """What the process beside a run is told.

    Attributes:
        tracker: Its name.
        target: ``module:attribute`` of what makes the `wmtp.Tracker`, from (settings, memory).
        settings: The tracker's own.
        folder: The run folder.
        parent: Process of the run; where it is gone, the run has ended.
    """

    tracker: str
    target: str
    settings: Any = attrs.field(repr=False)
    folder: Path
    parent: int = 0


def state_of(folder: Path, tracker: str) -> dict[str, Any]:
    """How far a tracker is: ``offset``, ``sent``, ``memory``, ``place``, ``shown``, ``refused``, ``error``; or empty."""
    return read_object(folder / FOLDER / f"{tracker}.json") or {}


class Follower:
    """One tracker at one run's journal."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._journal = journal_path(order.folder)
        state = state_of(order.folder, order.tracker)
        self._memory: dict[str, Any] = state.get("memory", {})
        self._tracker = self._make()
        if state and state.get("place") != self._tracker.place:
            log.warning("%s is another place than before (%s): all is sent", self._tracker.place, state.get("place"))
            state, self._memory = {}, {}
            self._tracker = self._make()
        self._offset = int(state.get("offset", 0))
        self._sent = int(state.get("sent", 0))
        self._before = self._sent
        self._refused: list[str] = list(state.get("refused", ()))
        self._error = ""
        self._save()  # the memory, before anything is made with it

    def _make(self) -> Tracker:
        module, _, attribute = self._order.target.partition(":")
        made: Tracker = getattr(import_module(module), attribute)(self._order.settings, self._memory)
        return made

    @property
    def sent(self) -> int:
        """Numbers sent, over all sessions."""
        return self._sent

    @property
    def sent_now(self) -> int:
        """Numbers that this object sent."""
        return self._sent - self._before

    @property
    def shown(self) -> str:
        return self._tracker.shown

    @property
    def refused(self) -> Sequence[str]:
        """What the place does not take, over all sessions."""
        return self._refused

    def send_some(self) -> bool:
        """Send what comes next in the journal, in one call to the tracker. False: there is nothing.

        Raises:
            Exception: Whatever the tracker raises; nothing is noted as sent but what was.
        """
        end, entries = self._next()
        if not entries:
            return False
        first = entries[0]
        if isinstance(first, Numbers):
            points = [point for entry in entries if isinstance(entry, Numbers) for point in entry.points()]
            self._send_points(points, end)
        else:
            self._note(self._call(first), end)
        return True

    def _send_points(self, points: Sequence[Point], end: int) -> None:
        refused = self._tracker.points(points)
        self._sent += len(points) - len(refused)
        self._note(refused, end)

    def _next(self) -> tuple[int, list[Entry]]:
        """The next entry, with the numbers behind it that go into one call."""
        if self._journal.exists() and self._offset > self._journal.stat().st_size:
            self._offset = 0  # the journal was begun anew
        entries: list[Entry] = []
        end, count = self._offset, 0
        for upto, entry in islice(read_journal(self._journal, self._offset), BATCH):
            if entries and not (isinstance(entry, Numbers) and isinstance(entries[0], Numbers)):
                break
            count += len(entry.values) if isinstance(entry, Numbers) else 0
            if entries and count > BATCH:
                break
            end = upto
            entries.append(entry)
            if not isinstance(entry, Numbers):
                break
        return end, entries

    def _call(self, entry: Entry) -> Sequence[str]:
        match entry:
            case TrackedRun():
                return self._tracker.begin(entry)
            case Artifact():
                path = self._order.folder / entry.file
                return self._tracker.artifact(path) if path.is_file() else [f"{entry.file} is no longer there"]
            case Link():
                return self._tracker.link(entry.name, entry.target)
            case Ended():
                return self._tracker.end(entry.status, entry.time)
            case _:
                raise AssertionError(entry)

    def killed(self) -> None:
        """The run is over, and its journal has no word of how: it was killed."""
        last = next(reversed([entry for _, entry in read_journal(self._journal)]), None)
        if last is not None and not isinstance(last, Ended):
            self._note(self._tracker.end("killed", time.time()), self._offset)

    def _note(self, refused: Sequence[str], offset: int) -> None:
        for line in refused:
            log.warning("%s", line)
        self._refused = (self._refused + [line for line in refused if line not in self._refused])[:_MOST_REFUSED]
        self._offset, self._error = offset, ""
        self._save()

    def failed(self, error: Exception) -> None:
        """Keep for the user what the last call raised."""
        self._error = f"{type(error).__name__}: {error}".splitlines()[0][:500]
        log.warning("%s", self._error)
        self._save()

    def _save(self) -> None:
        state = {
            "place": self._tracker.place,
            "shown": self._tracker.shown,
            "offset": self._offset,
            "sent": self._sent,
            "refused": self._refused,
            "error": self._error,
            "memory": self._memory,
        }
        write_atomically(
            self._order.folder / FOLDER / f"{self._order.tracker}.json", json.dumps(state, indent=1) + "\n"
        )


def held(folder: Path, tracker: str) -> filelock.FileLock:
    """The right to send a run's journal to a tracker: one process at a time."""
    return filelock.FileLock(folder / FOLDER / f".{tracker}.lock")


def send_all(order: Order) -> Follower:
    """Send what is left of a run's journal, and return when nothing is.

    Raises:
        ConfigError: Another process is sending it, or the place does not answer; what is left is kept.
    """
    try:
        with held(order.folder, order.tracker).acquire(timeout=ENDING_S):
            follower = Follower(order)
            try:
                while follower.send_some():
                    pass
            except ConfigError:
                raise
            except Exception as error:
                follower.failed(error)
                raise ConfigError(
                    f"tracker {order.tracker}: {error}\nWhat is left is kept; try again later."
                ) from error
            return follower
    except filelock.Timeout:
        raise ConfigError(f"{order.folder}: a process is sending it to {order.tracker} now; wait for its run") from None


def follow(order: Order, over: Callable[[], bool]) -> int:
    """Send the journal as it grows, until the run is over and all is sent.

    Args:
        order: What to do.
        over: Whether nothing more comes.

    Returns:
        Exit status: 0 if all was sent, 1 if the place did not answer behind the run's end, or never will.
    """
    with _turn(order, over) as mine:
        if not mine:
            return 0
        follower = Follower(order)
        pauses, ended = _pauses(), 0.0
        while True:
            last = over()  # asked before the journal is read: what was written before the end is seen
            ended = ended or (time.monotonic() if last else 0.0)
            try:
                sent = follower.send_some()
                pauses = _pauses()
                if not sent and last:
                    follower.killed()
                    return 0
            except ConfigError as error:
                follower.failed(error)
                return 1
            except Exception as error:  # noqa: BLE001  (a place may fail in any way, and may come back)
                follower.failed(error)
                if last:
                    return 1
                _sleep(next(pauses), over)
                continue
            if ended and time.monotonic() - ended > LATEST_S:
                return 1
            if not last:
                _sleep(POLL_S, over)


@contextmanager
def _turn(order: Order, over: Callable[[], bool]) -> Iterator[bool]:
    """Waits for the lock. False: another process has it behind the run's end still, and sends what this one would."""
    lock = held(order.folder, order.tracker)
    while True:
        last = over()
        try:
            lock.acquire(timeout=0 if last else POLL_S)
        except filelock.Timeout:
            if last:
                yield False
                return
            continue
        try:
            yield True
        finally:
            lock.release()
        return


def _pauses() -> Iterator[float]:
    pause = POLL_S
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _sleep(seconds: float, over: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over():
        time.sleep(0.05)


def main() -> int:
    """The process beside a run: its order comes on stdin, and so does the end."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.WARNING)
    order: Order = pickle.load(sys.stdin.buffer)
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.buffer.read(1)  # a byte, or the end of the file: the run says so, or is gone
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    os.nice(5)  # the run comes first
    # A process that the run forked may hold the pipe open when the run is killed; its parent's number changes all the same.
    return follow(order, lambda: ended.is_set() or os.getppid() != order.parent)
