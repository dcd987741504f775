"""One program's child, and how it ended. Runs in the trusted process."""

from __future__ import annotations

import _socket
import json
import os
import signal
import socket
import sys
import time
from typing import Any

from wmtp.judging.wire import channel

Outcome = dict[str, Any]


_requests: dict[str, tuple[Any, bytes]] = {}
"""Mode → limits, and the request with them: most programs have the same."""


def _request(mode: str, limits: dict[str, Any]) -> bytes:
    known = _requests.get(mode)
    if known is None or known[0] != limits:
        known = _requests[mode] = limits, json.dumps({"mode": mode, "limits": limits}).encode()
    return known[1]


class Child:
    """One program's child: its channel, and the zygote's report once it is over."""

    def __init__(self, control: socket.socket, job: dict[str, Any]) -> None:
        self._control = control
        self.sock, other = _socket.socketpair()  # the C type: one of these a program
        self._started = time.monotonic()
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, other.fileno().to_bytes(4, sys.byteorder))
        control.sendmsg([_request(job["mode"], job["limits"])], [rights])
        other.close()

    def finish(self) -> dict[str, Any]:
        """Ends the child if it still runs. Returns the zygote's report: exit, cpu, peak_mib, wall."""
        self._control.send(b"stop")
        report = self._control.recv(256)
        self.sock.close()  # only now: a child that saw it would wake up to leave by itself, and it is killed anyway
        if len(report) != channel.REPORT.size:
            raise channel.Closed("the zygote is gone")
        return read_report(report) | {"wall": time.monotonic() - self._started}


def read_report(data: bytes) -> dict[str, Any]:
    """exit, cpu, peak_mib and spent of a `channel.REPORT` and what comes behind it. Raises struct.error, or ValueError."""
    status, *usage, beside, spent = channel.REPORT.unpack_from(data)
    cpu = usage[0] + usage[2] + (usage[1] + usage[3]) / 1e6 + beside  # user's and system's, each as s and µs
    return {"exit": os.waitstatus_to_exitcode(status), "cpu": cpu, "peak_mib": usage[4] / 1024, "spent": spent}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def classify(report: dict[str, Any], limits: dict[str, Any]) -> tuple[str, str]:
    """The status of a program whose child ended before its time, from how it ended."""
    if report["exit"] == -signal.SIGXCPU or report["cpu"] >= limits["cpu"]:
        return "timeout", used_up(limits)
    if report["exit"] == -signal.SIGSYS:
        return "blocked", "made a forbidden system call"
    if report["exit"] < 0:
        return "error", f"killed by {_signal_name(-report['exit'])}"
    return "error", f"left with status {report['exit']} before its tests were done"


def used_up(limits: dict[str, Any]) -> str:
    return f"used up its {limits['cpu']} s of CPU"


def outcome(status: str, passed: int, tests: int, detail: str, report: dict[str, Any]) -> Outcome:
    return {
        "status": status,
        "tests_passed": passed,
        "tests": tests,
        "cpu_seconds": round(report["cpu"], 4),
        "wall_seconds": round(report["wall"], 4),
        "peak_mib": round(report["peak_mib"], 1),
        # It may be the program's own text: nothing in it may upset a terminal or a file in UTF-8.
        "detail": "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in detail),
        "spent": report["spent"],
    }
