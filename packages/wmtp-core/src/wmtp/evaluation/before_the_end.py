"""What the end of a run takes beside its numbers, brought in while programs are judged: nobody waits for it afterwards."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module

OTHERS = ("jinja2", "numpy", "rich.console", "rich.table")
OURS = ("wmtp.comparison.compare", "wmtp.reports.rundata", "wmtp.reports.tables", "wmtp.reports.html")
EVERY = 64
"""Verdicts from step to step: the judge has enough at hand meanwhile."""


class BeforeTheEnd:
    """Imports for the report and the table: libraries on a thread, modules of ours in steps of the thread that runs all.

    Only the latter imports what is ours: pytest rewrites that, with the parser, and CPython 3.11.7 fails where two threads
    parse at once.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._steps: deque[Callable[[], object]] = deque([*(partial(import_module, name) for name in OURS), _template])
        self._count = 0

    def begin(self) -> None:
        """Start the thread, unless that was done."""
        if self._thread is None:
            self._thread = threading.Thread(target=_libraries, name="imports ahead")
            self._thread.start()

    def verdict(self, *, steps: bool) -> None:
        """Note a verdict: the first begins, and with `steps` every so many take a step once the libraries are there."""
        self.begin()
        self._count += 1
        if steps and self._steps and self._count % EVERY == 0 and self._thread and not self._thread.is_alive():
            with suppress(ImportError):  # said where it is used
                self._steps.popleft()()


def _libraries() -> None:
    for name in OTHERS:
        with suppress(ImportError):  # said where it is used
            import_module(name)


def _template() -> None:
    from wmtp.reports.html import template

    template()
