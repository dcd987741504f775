"""A zygote and its checker: the two processes that judge one program at a time, as the parent sees them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from wmtp.errors import JudgeError
from wmtp.judging import channel, checker
from wmtp.judging.records import StdioCase

START_SECONDS = 60.0
GRACE_SECONDS = 20.0
TMPFS_MIB = 64
_ROOT = Path(__file__).resolve().parents[2]
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from wmtp.judging.{0} import main; main(*map(int, sys.argv[2:]))"


class PairDied(Exception):  # noqa: N818
    """Zygote or checker are gone or do not answer. A matter of ours: the program is judged again."""


def _interpreter(module: str, *descriptors: int) -> subprocess.Popen[bytes]:
    """A bare interpreter (no site-packages, nothing of our environment) that runs `main` of a module of this package."""
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if "LD_LIBRARY_PATH" in os.environ:  # some interpreters do not start without it
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return subprocess.Popen(
        [sys.executable, "-s", "-S", "-P", "-c", _BOOT.format(module), str(_ROOT), *map(str, descriptors)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("WMTP_JUDGE_STDERR") else subprocess.DEVNULL,
        pass_fds=descriptors,
        cwd="/",
        start_new_session=True,
    )


class Pair:
    """Starts both processes. Raises `JudgeError` naming the layer where the zygote cannot build its walls."""

    def __init__(self, level: Literal["strict", "process"], number: int) -> None:
        self.jobs = 0
        self._scratch = tempfile.mkdtemp(prefix="wmtp-judge-")
        self._processes: list[subprocess.Popen[bytes]] = []
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._parent, checkers = socket.socketpair()
        try:
            with control, checkers:
                with theirs:
                    self._processes.append(_interpreter("zygote", theirs.fileno()))
                self.facts = self._introduce(control, level, number)
                self._processes.append(_interpreter("checker", checkers.fileno(), control.fileno()))
        except BaseException:
            self.close()
            raise

    def _introduce(self, control: socket.socket, level: str, number: int) -> dict[str, str]:
        control.settimeout(START_SECONDS)
        options = {"level": level, "scratch": self._scratch, "number": number, "tmpfs_mib": TMPFS_MIB}
        try:
            control.send(json.dumps(options).encode())
            answer = json.loads(control.recv(65536) or b"{}")
        except OSError as error:
            raise PairDied(f"the zygote does not start: {error}") from None
        finally:
            control.settimeout(None)
        if "failed" in answer:
            raise JudgeError(answer["failed"])
        if "ready" not in answer:
            raise PairDied("the zygote ended while it started")
        ready: dict[str, str] = answer["ready"]
        return ready

    def _ask(self, kind: int, payload: Mapping[str, Any], seconds: float) -> tuple[int, bytes]:
        self._parent.settimeout(seconds)
        try:
            channel.send(self._parent, kind, json.dumps(payload).encode())
            return channel.receive(self._parent, checker.JOB_LIMIT)
        except channel.Closed as closed:
            raise PairDied(str(closed)) from None

    def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Judges a call job, or asks for a probe."""
        self.jobs += 1
        _, data = self._ask(checker.JOB, job, job["deadline"] + GRACE_SECONDS)
        answer: dict[str, Any] = json.loads(data)
        return answer

    def run_cases(self, job: Mapping[str, Any], cases: Any) -> dict[str, Any]:
        """Judges a stdin program, one case at a time, until one fails."""
        self.jobs += 1
        seconds = job["limits"]["wall"] + GRACE_SECONDS
        kind, data = self._ask(checker.JOB, job, seconds)
        source = iter(cases)
        while kind == checker.RESULT and not data:
            case: StdioCase | None = next(source, None)
            if case is None:
                break
            kind, data = self._ask(checker.CASE, {"input": case.input, "expected": case.expected}, seconds)
        if kind == checker.RESULT:
            kind, data = self._ask(checker.END, {}, seconds)
        answer: dict[str, Any] = json.loads(data)
        return answer

    def close(self) -> None:
        self._parent.close()  # the checker sees it and leaves, and with it the zygote
        for process in reversed(self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            if process.poll() is None:
                process.kill()
                process.wait()
        _remove(self._scratch)


def _remove(folder: str) -> None:
    """Removes what is left of a scratch folder. A program at level process may have taken its own rights away."""
    for name, _, _ in os.walk(folder):
        Path(name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
