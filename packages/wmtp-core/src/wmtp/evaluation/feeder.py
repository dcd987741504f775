"""Programs handed to a judge by a thread of its own, so that whoever makes them never waits for the judge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

import attrs

from wmtp.contracts.judging import CallTests, Judge, Outcome, StdioTests


@attrs.frozen(eq=False)
class _Job:
    code: str
    tests: CallTests | StdioTests
    ended: Callable[[Future[Outcome]], None]


class Feeder:
    """A queue before a judge, whose `submit` waits while its own is full. The thread starts with the first program."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, code: str, tests: CallTests | StdioTests, ended: Callable[[Future[Outcome]], None]) -> None:
        """Queue a program. ended: is called with the finished future, on a thread that must not be held up."""
        self.begin()
        self._jobs.put(_Job(code, tests, ended))

    def begin(self) -> None:
        """Start the thread, unless that was done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._feed, name="feeds the judge", daemon=True)
            self._thread.start()

    def _feed(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closed:
            try:
                future = self._judge.submit(job.code, job.tests)
            except Exception as error:  # noqa: BLE001  (raised again where the verdict is waited for)
                future = Future()
                future.set_exception(error)
            future.add_done_callback(job.ended)

    def close(self) -> None:
        """Drop what the judge has not been given yet."""
        self._closed = True
        self._jobs.put(None)
