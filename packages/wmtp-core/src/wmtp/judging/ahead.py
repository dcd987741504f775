"""A judge that opens while a command still imports what it runs and finds its data: it takes as long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wmtp.contracts.judging import JudgeRequest, Level
from wmtp.judging.judge import SandboxJudge, checked_private, open_judge

_DEFAULTS: dict[str, Any] = {
    name: getattr(JudgeRequest(), name) for name in ("workers", "time_limit", "memory_mib", "packages")
}
_OPENING: list[_Opening] = []
"""What nobody has taken yet."""


class _Opening:
    """A judge on its way, on a thread of its own."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self._judge: SandboxJudge | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._open, name="opens a judge ahead", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        try:
            self._judge = open_judge(**self.options)
        except Exception as error:  # noqa: BLE001  (raised again for whoever takes it)
            self._error = error
        else:
            self._judge.start_second()

    def taken(self) -> SandboxJudge:
        """The judge once it is open, to be closed by whoever takes it. Raises what kept it from opening."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._judge is not None, "it opened, or failed"
        return self._judge

    def close(self) -> None:
        self._thread.join()
        if self._judge is not None:
            self._judge.close()


@contextmanager
def opening(level: Level) -> Iterator[None]:
    """Within, a judge of this level opens, otherwise of the defaults. `opened` takes it; if nobody does, it is closed."""
    mine = _Opening({**_DEFAULTS, "level": level})
    _OPENING.append(mine)
    try:
        yield
    finally:
        if mine in _OPENING:
            _OPENING.remove(mine)
            mine.close()


def opened(**options: Any) -> SandboxJudge:
    """As `wmtp.judging.open_judge`, of the same options; the judge that opens already, where it is the one that is wanted."""
    private, notify = options.pop("private", ()), options.pop("notify", None)
    found = next((one for one in _OPENING if one.options == options), None)
    if found is None:
        return open_judge(**options, private=private, notify=notify)
    checked_private(options["level"], private)
    _OPENING.remove(found)
    judge = found.taken()
    for note in judge.notes if notify else ():
        notify(note)
    return judge
