"""The judge of a run, started with the first program or key of verdicts, and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Literal

from wmtp.contracts.judging import CallTests, GivesWay, Judge, KeepsReady, Outcome, StdioTests


class LazyJudge:
    """A `Judge` that is opened when it is needed: a run that judges nothing needs no sandbox."""

    def __init__(self, opener: Callable[[], Judge]) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._judge: Judge | None = None
        self._error: Exception | None = None
        self._closed = False

    def begin(self) -> None:
        """Open it on a thread of its own, beside what else a run begins with. If that fails, whoever needs it hears of it."""
        threading.Thread(target=self._try, name="opens the judge", daemon=True).start()

    def _try(self) -> None:
        with self._lock:
            if self._judge is None and self._error is None and not self._closed:
                try:
                    self._judge = self._opener()
                except Exception as error:  # noqa: BLE001  (raised again where it is needed)
                    self._error = error

    def _open(self) -> Judge:
        if self._judge is None:
            self._try()
        if self._error is not None:
            raise self._error
        assert self._judge is not None, "it is closed"
        return self._judge

    @property
    def opened(self) -> Judge | None:
        """The judge, if anything has needed it."""
        return self._judge

    @property
    def level(self) -> Literal["strict", "process"]:
        return self._open().level

    @property
    def notes(self) -> tuple[str, ...]:
        return self._open().notes

    @property
    def identity(self) -> Mapping[str, str]:
        return self._open().identity

    def submit(self, code: str, tests: CallTests | StdioTests) -> Future[Outcome]:
        return self._open().submit(code, tests)

    def give_way(self, now: bool) -> None:
        """See `GivesWay`. A judge that was not needed yet, or cannot, goes on as it is."""
        judge: object = self._judge
        if isinstance(judge, GivesWay):
            judge.give_way(now)

    def keep_ready(self, now: bool) -> None:
        """See `KeepsReady`. A judge that was not needed yet, or cannot, goes on as it is."""
        judge: object = self._judge
        if isinstance(judge, KeepsReady):
            judge.keep_ready(now)

    def close(self) -> None:
        with self._lock:  # it may be opening
            judge, self._judge, self._closed = self._judge, None, True
        if judge is not None:
            judge.close()
