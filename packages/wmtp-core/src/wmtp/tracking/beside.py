"""A tracker's process beside the run, as the run sees it: started, told that the run has ended, waited for."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from wmtp.tracking.follow import Order, state_of
from wmtp.tracking.journal import FOLDER

log = logging.getLogger("wmtp.tracking")
WAIT_S = 30.0
WAIT_AWAY_S = 2.0
"""How long a run that has ended waits for a tracker: one that gets on, and one whose place has not answered."""
_POLL_S = 0.05


class Beside:
    """One tracker's process. It has a session of its own, so that ctrl-C stops the run and not what tells of it."""

    def __init__(self, tracker: str, target: str, settings: Any, folder: Path) -> None:
        self._order = Order(
            tracker=tracker, target=target, settings=settings, folder=folder.resolve(), parent=os.getpid()
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. What it says goes to ``tracking/<tracker>.log``."""
        if self._process is not None:
            return
        (self._order.folder / FOLDER).mkdir(exist_ok=True)
        with (self._order.folder / FOLDER / f"{self._order.tracker}.log").open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "wmtp.tracking"],  # -P: no module of the working directory is imported
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already; `wait` says so
            self._process.stdin.write(pickle.dumps(self._order))
            self._process.stdin.flush()

    def finish(self) -> None:
        """Tell it that nothing more comes."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(b"e")
                self._process.stdin.close()

    def wait(self) -> None:
        """Wait while it gets on, end it where it does not, and tell the user how it stands."""
        process, began = self._process, time.monotonic()
        if process is None:
            return
        while process.poll() is None:
            away = bool(state_of(self._order.folder, self._order.tracker).get("error"))
            if time.monotonic() - began > (WAIT_AWAY_S if away else WAIT_S):
                process.kill()
                process.wait()
                break
            time.sleep(_POLL_S)
        self._tell(process.returncode)

    def _tell(self, status: int) -> None:
        name, folder = self._order.tracker, self._order.folder
        state = state_of(folder, name)
        for line in state.get("refused", ()):
            log.warning("tracker %s: %s", name, line)
        if status == 0:
            log.info("tracker %s: %d numbers sent%s", name, state.get("sent", 0), _where(state))
            return
        reason = state.get("error") or f"it ended with status {status}; {folder / FOLDER / f'{name}.log'} says why"
        log.warning(
            "tracker %s: not all was sent: %s. Nothing is lost: it is in %s, and `wmtp track sync %s` sends it.",
            name, reason, folder / FOLDER, folder,
        )  # fmt: skip


def _where(state: Any) -> str:
    return f"; {state['shown']}" if state.get("shown") else ""


__all__ = ["Beside"]
