"""Limits see what a program does with its processes, threads and sockets, and nothing that others do to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from wmtp.contracts.judging import CallTests, Outcome, StdioCase, StdioTests
from wmtp.judging.judge import SandboxJudge

THREE = CallTests(tests=("assert f(3) == 3",), time_limit=1)
SMALL = CallTests(tests=("assert f(3) == 3",), time_limit=60, memory_mib=128)

BURN = """
import time
def burn(seconds, clock=time.process_time):
    start = clock()
    while clock() - start < seconds: pass
"""
WORKING = {
    "one process": """
def f(x):
    burn(0.6)
    return x
""",
    "threads": """
import threading
def f(x):
    started = [threading.Thread(target=burn, args=(0.15, time.thread_time)) for _ in range(4)]
    for thread in started: thread.start()
    for thread in started: thread.join()
    return x
""",
    "children": """
import os
def f(x):
    for _ in range(3):
        if os.fork() == 0:
            burn(0.2)
            os._exit(0)
    for _ in range(3): os.wait()
    return x
""",
}


@contextmanager
def _load(judge: SandboxJudge, loops: int) -> Iterator[None]:
    """Busy loops on the processor that the judge uses, which start after it."""
    (processor,) = {pair.processor for pair in judge._pairs}
    # A killed test leaves none behind.
    loop = (
        f"import os\nparent = os.getppid()\nos.sched_setaffinity(0, {{{processor}}})\nprint(flush=True)\n"
        "while os.getppid() == parent: pass"
    )
    command = [sys.executable, "-c", loop]
    busy = [subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) for _ in range(loops)]
    try:
        for process in busy:
            assert process.stdout
            process.stdout.readline()  # it runs
        yield
    finally:
        for process in busy:
            process.kill()
            process.communicate()


def _judged_late(judge: SandboxJudge, code: str, tests: CallTests | StdioTests) -> Outcome:
    """How a program was judged beside so much load that it took longer than its wall limit, which is 3 s."""
    for loops in (5, 10, 20):
        with _load(judge, loops):
            outcome = judge.submit(code, tests).result()
        assert outcome.passed, outcome
        if outcome.wall_seconds > 3:
            return outcome
    pytest.fail(f"no load made it late: {outcome}")


@pytest.mark.parametrize("kind", WORKING)
def test_load_that_comes_later_makes_no_right_program_late(kind: str, judge: SandboxJudge) -> None:
    _judged_late(judge, BURN + WORKING[kind], THREE)


def test_load_that_comes_later_makes_no_right_stdin_program_late(judge: SandboxJudge) -> None:
    case = StdioCase(input="3\n", expected="3\n")
    _judged_late(judge, BURN + "burn(0.6)\nprint(input())", StdioTests(cases=[case], time_limit=1))


def test_a_program_that_sleeps_is_late_once_whatever_the_load(judge: SandboxJudge) -> None:
    before = _programs(judge)
    with _load(judge, 2):
        outcome = judge.submit("import time\ndef f(x): time.sleep(600)", THREE).result()
    assert outcome.status == "timeout"
    assert "wall" in outcome.detail
    assert _programs(judge) == before + 1  # not judged twice


def _programs(judge: SandboxJudge) -> int:
    (pair,) = judge._pairs
    return pair.jobs


def test_an_answer_that_keeps_the_checker_busy_is_a_timeout_under_load_too(judge: SandboxJudge) -> None:
    tests = CallTests(tests=("assert sum(f(3)) == 3",), time_limit=1)
    with _load(judge, 1):
        assert judge.submit("def f(x): return range(10**15)", tests).result().status == "timeout"


# Each starts processes, which say through a pipe that they hold what they are to hold, and waits until it is ended.
HIDDEN_MEMORY = {
    "a first thread that leaves": """
import ctypes, os, threading, time
def hold(pipe):
    held = bytearray(90 << 20)
    held[::4096] = b"x" * len(held[::4096])
    os.write(pipe, b"x")
    time.sleep(600)
def start(pipe):
    threading.Thread(target=hold, args=(pipe,)).start()
    ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
COUNT = 4
""",
    "sockets that nobody reads": """
import os, socket, time
def start(pipe):
    held = []
    try:
        while True:
            pair = socket.socketpair()
            for one in pair:
                one.setblocking(False)
                try:
                    while True: one.send(b"x" * 65536)
                except BlockingIOError: pass
            held.append(pair)
    except OSError:  # as many as it may have
        os.write(pipe, b"x")
    time.sleep(600)
COUNT = 20
""",
}
HOLD = """
def f(x):
    full, pipe = os.pipe()
    for _ in range(COUNT):
        if os.fork() == 0: start(pipe)
    os.close(pipe)
    for _ in range(COUNT):
        if not os.read(full, 1): raise RuntimeError("a process has left")
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", HIDDEN_MEMORY)
def test_memory_that_processes_hold_in_other_ways_counts(kind: str, judge: SandboxJudge) -> None:
    if kind.startswith("sockets") and judge.level == "strict":
        pytest.skip("there are none: pairs are pipes, of which the kernel lets nobody hold much")
    outcome = judge.submit(HIDDEN_MEMORY[kind] + HOLD, SMALL).result()
    assert outcome.status == "memory", outcome


def test_threads_share_an_arena_so_that_chance_gives_no_program_less_room(judge: SandboxJudge) -> None:
    """One for each thread would reserve 64 MiB of a program's room: in one zygote of thirty, by where its memory lies."""
    code = "import os\ndef f(x): return x if os.environ['MALLOC_ARENA_MAX'] == '1' else 0"
    assert judge.submit(code, THREE).result().passed


def test_a_program_that_runs_too_many_threads_does_not_pass(judge: SandboxJudge) -> None:
    """At strict the kernel refuses them, at process the watch ends it: there the kernel would count all that the user runs."""
    code = (
        "import threading, time\ndef f():\n    threads = [threading.Thread(target=time.sleep, args=(1,)) for _ in range(100)]\n"
        "    for thread in threads: thread.start()\n    for thread in threads: thread.join()\n    return 1\n"
    )
    outcome = judge.submit(code, CallTests(tests=("assert f() == 1",))).result()
    assert outcome.status == "error", outcome
    said = "it ran more than 64" if judge.level == "process" else "can't start new thread"
    assert said in outcome.detail


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
