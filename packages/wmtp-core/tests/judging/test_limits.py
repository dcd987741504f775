"""Limits see what a program does with its processes, threads and sockets, and nothing that others do to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.judging.judge import SandboxJudge

THREE = CallTests(tests=("assert f(3) == 3",), time_limit=1)
SMALL = CallTests(tests=("assert f(3) == 3",), time_limit=4, memory_mib=128)

BURN = """
import time
def burn(seconds, clock=time.process_time):
    start = clock()
    while clock() - start < seconds: pass
"""
WORKING = {
    "one process": """
def f(x):
    burn(0.7)
    return x
""",
    "threads": """
import threading
def f(x):
    started = [threading.Thread(target=burn, args=(0.2, time.thread_time)) for _ in range(4)]
    for thread in started: thread.start()
    for thread in started: thread.join()
    return x
""",
    "children": """
import os
def f(x):
    for _ in range(3):
        if os.fork() == 0:
            burn(0.23)
            os._exit(0)
    for _ in range(3): os.wait()
    return x
""",
}


@contextmanager
def _load(judge: SandboxJudge, loops: int) -> Iterator[None]:
    """Busy loops on the processor that the judge uses, which start after it."""
    (processor,) = {pair.processor for pair in judge._pairs}
    loop = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # a killed test leaves none behind
    busy = [subprocess.Popen([sys.executable, "-c", loop], start_new_session=True) for _ in range(loops)]
    try:
        for process in busy:
            os.sched_setaffinity(process.pid, {processor})
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.parametrize("kind", WORKING)
def test_load_that_comes_later_makes_no_right_program_late(kind: str, judge: SandboxJudge) -> None:
    with _load(judge, 4):  # the wall limit is 3 s: with a fifth of a processor, 0.7 s of CPU take longer
        outcome = judge.submit(BURN + WORKING[kind], THREE).result()
    assert outcome.passed, outcome
    assert outcome.wall_seconds > 3


def test_load_that_comes_later_makes_no_right_stdin_program_late(judge: SandboxJudge) -> None:
    code = BURN + "burn(0.7)\nprint(input())"
    with _load(judge, 4):
        outcome = judge.submit(code, StdioTests(cases=[StdioCase(input="3\n", expected="3\n")], time_limit=1)).result()
    assert outcome.passed, outcome


def test_a_program_that_sleeps_is_late_once_whatever_the_load(judge: SandboxJudge) -> None:
    with _load(judge, 2):
        started = time.monotonic()
        outcome = judge.submit("import time\ndef f(x): time.sleep(60)", THREE).result()
    assert outcome.status == "timeout"
    assert "wall" in outcome.detail
    assert time.monotonic() - started < 5  # its limit is 3 s, and it is not judged twice


def test_an_answer_that_keeps_the_checker_busy_is_a_timeout_under_load_too(judge: SandboxJudge) -> None:
    tests = CallTests(tests=("assert sum(f(3)) == 3",), time_limit=1)
    with _load(judge, 1):
        assert judge.submit("def f(x): return range(10**15)", tests).result().status == "timeout"


HIDDEN_MEMORY = {
    "a first thread that leaves": """
import ctypes, os, threading, time
def hold():
    held = bytearray(90 << 20)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(30)
def f(x):
    for _ in range(4):
        if os.fork() == 0:
            threading.Thread(target=hold).start()
            ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
    time.sleep(3)
    return x
""",
    "sockets that nobody reads": """
import os, socket, time
def fill():
    held = []
    while True:
        try: pair = socket.socketpair()
        except OSError: time.sleep(30)
        for one in pair:
            one.setblocking(False)
            try:
                while True: one.send(b"x" * 65536)
            except BlockingIOError: pass
        held.append(pair)
def f(x):
    for _ in range(20):
        if os.fork() == 0: fill()
    time.sleep(3)
    return x
""",
}


@pytest.mark.parametrize("kind", HIDDEN_MEMORY)
def test_memory_that_processes_hold_in_other_ways_counts(kind: str, judge: SandboxJudge) -> None:
    outcome = judge.submit(HIDDEN_MEMORY[kind], SMALL).result()
    assert outcome.status == "memory", outcome


def test_cpu_of_children_that_nobody_reaps_counts(judge: SandboxJudge) -> None:
    code = BURN + (
        "import os, signal\ntry: signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nexcept OSError: pass\n"
        "def f(x):\n    for _ in range(4):\n        r, w = os.pipe()\n"
        "        if os.fork() == 0:\n            burn(0.6)\n            os.write(w, b'x')\n            os._exit(0)\n"
        "        os.close(w); os.read(r, 1); os.close(r)\n    return x\n"
    )
    outcome = judge.submit(code, THREE).result()
    assert outcome.status == "timeout", outcome


def test_a_kernel_that_tells_nothing_of_waiting_is_named(
    start_judge: Callable[..., SandboxJudge], monkeypatch: Any
) -> None:
    monkeypatch.setattr("wmtp.judging.host.watch.can_see_waiting", lambda: False)
    with start_judge("process", workers=1) as judge:
        assert "waits for a processor" in judge.notes[0]
