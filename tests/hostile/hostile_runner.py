"""Judges hostile cases and reports, after each, what it left on the host and whether the judge still judges right.

Reads {level, cases} from stdin and writes one JSON object a case. A process of its own, so that the same corpus runs as
another user, and a subreaper, so that whatever gets away from the judge becomes its descendant.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.judging import open_judge
from wmtp.judging.judge import SandboxJudge
from wmtp.judging.sandbox import lockdown, process_tree

MARK = f"hostile{os.getpid()}"
PORT = (
    10_000 + os.getpid() % 3_000 * 2
)  # below those of the servers of other tests; programs listen on the one behind it
KEY = 0x57000000 + PORT  # of System V objects
SECONDS = 1
FOLDERS = ("/", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", os.path.expanduser("~"), "/usr/lib", ".")
_KEYS: set[str] = set()
ONE = CallTests(tests=("assert f(2) == 3",), time_limit=10)
TWO = StdioTests(cases=[StdioCase(input="2\n", expected="3\n")], time_limit=10)


def _fill(source: str) -> str:
    return source.replace("MARK", MARK).replace("PORT", str(PORT)).replace("SYSV", str(KEY))


def _tests(case: dict[str, Any]) -> CallTests | StdioTests:
    if case["kind"] == "call":
        return CallTests(tests=tuple(case["tests"]), time_limit=SECONDS)
    return StdioTests(
        cases=[StdioCase(input=given, expected=wanted) for given, wanted in case["tests"]], time_limit=SECONDS
    )


def _ours(judge: SandboxJudge) -> set[int]:
    """The judge's own processes: zygotes, what each forked to be pid 1 of its namespace, checkers."""
    found = set()
    for pair in judge._pairs:
        found |= {process.pid for process in pair._processes} | set(
            process_tree.children(pair._zygote)[:1] if judge.level == "strict" else []
        )
    return found


def _files() -> list[str]:
    found = []
    for folder in FOLDERS:
        with contextlib.suppress(OSError):
            found += [os.path.join(folder, name) for name in os.listdir(folder) if MARK in name]
    return found


def _strays(judge: SandboxJudge) -> list[int]:
    ours = _ours(judge)
    with contextlib.suppress(ChildProcessError):  # what was handed to us and has ended
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in ours:
            os.waitpid(ended.si_pid, 0)
    return sorted(set(process_tree.descendants(os.getpid())) - ours)


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def _sysv(kind: str) -> list[int]:
    lines = [line.split() for line in _read(f"/proc/sysvipc/{kind}").splitlines()[1:]]
    return [int(line[1]) for line in lines if int(line[0]) == KEY]


def _traces(judge: SandboxJudge) -> list[str]:
    """What the last program left on the host, in words."""
    found = [f"file {path}" for path in _files()]
    until = time.monotonic() + 2
    while (strays := _strays(judge)) and time.monotonic() < until:
        time.sleep(0.02)
    found += [f"process {pid}" for pid in strays]
    for table in ("tcp", "tcp6", "udp", "udp6"):
        found += [
            f"port of {table}" for line in _read(f"/proc/net/{table}").splitlines() if f":{PORT + 1:04X} " in line[:60]
        ]
    found += [f"socket {line.split()[-1]}" for line in _read("/proc/net/unix").splitlines() if f"{MARK}left" in line]
    found += [f"System V {kind}" for kind in ("shm", "sem", "msg") if _sysv(kind)]
    keys = {line for line in _read("/proc/keys").splitlines() if MARK in line} - _KEYS
    _KEYS.update(keys)  # the kernel takes its time to collect what nobody holds any more
    found += [f"key {line}" for line in keys]
    found += [f"mount {line}" for line in _read("/proc/self/mounts").splitlines() if MARK in line]
    if MARK in socket.gethostname():
        found.append("host name")
    return found


def _tidy(judge: SandboxJudge) -> None:
    """At level process a case may leave what it likes: gone before the next."""
    import ctypes

    for pid in _strays(judge):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for path in _files():
        with contextlib.suppress(FileNotFoundError):  # it was in two of the folders, which were one
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    libc = ctypes.CDLL(None)
    for kind, remove in (
        ("shm", lambda i: libc.shmctl(i, 0, None)),
        ("sem", lambda i: libc.semctl(i, 0, 0)),
        ("msg", lambda i: libc.msgctl(i, 0, None)),
    ):
        for identifier in _sysv(kind):
            remove(identifier)


def _bait() -> list[Any]:
    """What a program that reaches out would reach: a port, an abstract socket, a socket in the file system."""
    held: list[Any] = [socket.create_server(("127.0.0.1", PORT))]
    held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    held[-1].bind(("127.0.0.1", PORT))
    for address in (f"\0{MARK[7:]}abstract", f"/tmp/socket{MARK[7:]}"):
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].bind(address)
        held[-1].listen()
    os.environ["BAIT"] = "kb2 in the environment"
    Path(f"/tmp/bait{MARK[7:]}").write_text("bait", encoding="ascii")
    return held


def main() -> None:
    request = json.loads(sys.stdin.readline())
    lockdown.become_subreaper()
    held = _bait()
    try:
        with open_judge(level=request["level"], workers=1, time_limit=SECONDS) as judge:
            for case in request["cases"]:
                print(json.dumps(_judged(judge, case)), flush=True)
            scratch = [pair._scratch.path for pair in judge._pairs]
        left = [folder for folder in scratch if os.path.exists(folder)]
        print(json.dumps({"id": "", "traces": [*left, *map(str, process_tree.children(os.getpid()))]}), flush=True)
    finally:
        del held
        for name in ("socket", "bait"):
            os.unlink(f"/tmp/{name}{MARK[7:]}")


def _judged(judge: SandboxJudge, case: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    statuses, detail = [], ""
    for program in filter(None, (case["program"], case["second"])):
        outcome = judge.submit(_fill(program), _tests(case)).result()
        statuses.append(outcome.status)
        detail = detail or outcome.detail
    seconds = time.monotonic() - started
    traces = _traces(judge)
    _tidy(judge)
    after = [
        judge.submit("def f(x): return x + 1", ONE).result().status,
        judge.submit("def f(x): return x", ONE).result().status,
        judge.submit("print(int(input()) + 1)", TWO).result().status,
    ]
    found = {"id": case["id"], "statuses": statuses, "detail": detail, "seconds": seconds}
    return found | {"traces": traces, "after": after, "machine": platform.machine()}


if __name__ == "__main__":
    main()
