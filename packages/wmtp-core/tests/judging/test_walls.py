"""The judge itself: what it says where a wall does not hold, how it survives, what it remembers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import wmtp
from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.errors import JudgeError
from wmtp.judging import checks, open_judge
from wmtp.judging.judge import SandboxJudge
from wmtp.judging.sandbox import process_tree

ONE = CallTests(tests=("assert f() == 1",))
RIGHT, WRONG = "def f(): return 1", "def f(): return 2"

# Makes one system call answer with a fixed result, as another kernel or a container's filter would.
TAMPER = """
import ctypes, struct, sys
from wmtp.judging.sandbox import seccomp
def op(c, t, f, k): return struct.pack("=HBBI", c, t, f, k)
number, result, argument = (int(a, 0) for a in sys.argv[1:4])
ops = op(0x20, 0, 0, 0)
if argument >= 0:
    ops += op(0x15, 0, 3, number) + op(0x20, 0, 0, 16) + op(0x15, 0, 1, argument) + op(6, 0, 0, 0x50000 | result)
else:
    ops += op(0x15, 0, 1, number) + op(6, 0, 0, 0x50000 | result)
ops += op(6, 0, 0, 0x7fff0000)
buffer = ctypes.create_string_buffer(ops, len(ops))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(seccomp._Program(len(ops) // 8, ctypes.cast(buffer, ctypes.c_void_p))), 0, 0) == 0
from wmtp.judging import open_judge
from wmtp.contracts.judging import CallTests
from wmtp.errors import JudgeError
try:
    with open_judge(level="strict", workers=1): print("STRICT RUNS")
except JudgeError as error:
    print(error)
notes = []
with open_judge(level="auto", workers=1, notify=notes.append) as judge:
    outcome = judge.submit("def f(): return 1", CallTests(tests=("assert f() == 1",))).result()
    print(judge.level, outcome.status, notes == list(judge.notes), "because strict does not hold" in notes[0])
"""


def _python(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86_64")
@pytest.mark.parametrize(
    ("layer", "number", "result", "argument"),
    [
        # refused outright
        ("unshare", 272, 1, -1),
        ("mount", 165, 1, -1),
        ("pivot_root", 155, 1, -1),
        ("mount_setattr", 442, 38, -1),
        ("landlock", 444, 38, -1),
        ("capset", 126, 1, -1),
        # answered with success, and nothing done: only a self-test finds out
        ("landlock", 446, 0, -1),
        ("capabilities", 126, 0, -1),
        ("seccomp", 157, 0, 22),
    ],
)
def test_strict_refuses_and_names_the_layer(
    layer: str, number: int, result: int, argument: int, strict: SandboxJudge
) -> None:
    ended = _python(TAMPER, str(number), str(result), str(argument))
    assert "STRICT RUNS" not in ended.stdout, ended
    assert "cannot run at level strict" in ended.stdout, ended
    assert layer in ended.stdout.splitlines()[0]
    assert "--judge process" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "process passed True True"


def test_doctor_lists_what_holds(strict: SandboxJudge) -> None:
    found = {check.name: check for check in checks()}
    assert all(check.ok for check in found.values()), found
    assert {"judge: strict", "judge: process", "judge: landlock", "judge: seccomp"} <= found.keys()


def test_identity_is_what_a_verdict_depends_on() -> None:
    with (
        open_judge(level="process", workers=1, time_limit=10) as one,
        open_judge(level="process", workers=2, time_limit=10) as same,
        open_judge(level="process", workers=1, time_limit=11) as other,
    ):
        assert one.identity == same.identity != other.identity
        assert one.identity["level"] == "process"
        assert all(isinstance(value, str) for value in one.identity.values())


@pytest.mark.parametrize("level", ["strict", "process"])
def test_judges_on_after_its_processes_are_killed(level: str, start_judge: Callable[..., SandboxJudge]) -> None:
    with start_judge(level, workers=1) as judge:
        for which in (0, 1, 0, 1):
            assert judge.submit(RIGHT, ONE).result().passed
            (pair,) = judge._pairs
            os.kill(pair._processes[which].pid, signal.SIGKILL)
            time.sleep(0.05)
            assert judge.submit(RIGHT, ONE).result().passed
            assert judge.submit(WRONG, ONE).result().status == "failed"


def test_a_judge_that_keeps_dying_is_no_verdict_on_the_program(start_judge: Callable[..., SandboxJudge]) -> None:
    import threading

    with start_judge("process", workers=1) as judge:
        over = threading.Event()

        def kill_all_along() -> None:
            while not over.is_set():
                for pair in list(judge._pairs):
                    for process in pair._processes:
                        process.kill()
                time.sleep(0.01)

        killer = threading.Thread(target=kill_all_along)
        killer.start()
        try:
            outcome = judge.submit("import time\ntime.sleep(5)\n" + RIGHT, ONE).result()
        finally:
            over.set()
            killer.join()
        assert outcome.status == "infrastructure"
        assert judge.submit(RIGHT, ONE).result().passed


def test_broken_tests_are_no_verdict_on_the_program(judge: SandboxJudge) -> None:
    for tests in (("assert f( == 1",), ("class T: pass\nassert f(T()) == 1",)):
        outcome = judge.submit("def f(x): return 1", CallTests(tests=tests)).result()
        assert outcome.status == "infrastructure"
        assert "test" in outcome.detail


def test_zygotes_are_replaced(monkeypatch: pytest.MonkeyPatch, start_judge: Callable[..., SandboxJudge]) -> None:
    monkeypatch.setattr("wmtp.judging.judge.RECYCLE_AFTER", 5)
    with start_judge("strict", workers=1) as judge:
        seen = set()
        for _ in range(12):
            assert judge.submit(RIGHT, ONE).result().passed
            seen |= {pair._processes[0].pid for pair in judge._pairs}
        assert len(seen) >= 3
        assert len(judge._pairs) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("def f(): return 2", "failed"),
        ("def f(): raise ValueError", "error"),
        ("def f():\n while True: pass", "timeout"),
        pytest.param("import time\ndef f(): time.sleep(60)", "timeout", marks=pytest.mark.slow),
        ("def f(): return bytearray(3 << 30)", "memory"),
        ("def f(): return open('/etc/shadow').read()", "error"),
        ("import socket\ndef f(): return socket.socket()", "blocked"),
        ("def f(): return range(10**15)", "failed"),
    ],
)
def test_statuses(code: str, status: str, strict: SandboxJudge) -> None:
    outcome = strict.submit(code, CallTests(tests=("assert f() == 1",), time_limit=1)).result()
    assert outcome.status == status, outcome
    assert outcome.detail
    assert (outcome.tests_passed, outcome.tests) == (0, 1)


@pytest.mark.parametrize(
    "tail",
    ["sys.exit(main())", "exit()", "unittest.main()", "argparse.ArgumentParser().parse_args(['--x'])", "int(input())"],
)
def test_a_main_guard_is_not_run_where_functions_are_wanted(tail: str, judge: SandboxJudge) -> None:
    code = f"import argparse, sys, unittest\n{RIGHT}\ndef main(): return 3\nif __name__ == '__main__':\n    {tail}\n"
    assert judge.submit(code, ONE).result().passed


def test_a_program_has_the_cpu_it_is_told(judge: SandboxJudge) -> None:
    """By its own clock, whatever the clock's ticks say."""
    loop = "def f():\n while True: pass"
    outcome = judge.submit(loop, CallTests(tests=("assert f() == 1",), time_limit=2)).result()
    assert (outcome.status, outcome.detail) == ("timeout", "test 1: used up its 2 s of CPU")
    assert 2 <= outcome.cpu_seconds < 2.5  # what it gets until the zygote wakes depends on who else wants the processor


def test_processes_of_a_program_have_one_limit_on_cpu_together(judge: SandboxJudge) -> None:
    burn = "import time\n  while time.process_time() < 0.8: pass\n  os._exit(0)"
    code = f"import os\nfor _ in range(2):\n if os.fork() == 0:\n  {burn}\nos.wait(); os.wait()\n{RIGHT}"
    outcome = judge.submit(code, CallTests(tests=ONE.tests, time_limit=1)).result()
    assert outcome.status == "timeout"
    assert outcome.detail.endswith("used up its 1 s of CPU")
    assert judge.submit(code, CallTests(tests=ONE.tests, time_limit=3)).result().passed


def test_details_do_not_tell_what_was_expected(judge: SandboxJudge) -> None:
    tests = CallTests(tests=("assert f() == 'hidden', 'wanted hidden'",))
    assert "hidden" not in judge.submit(RIGHT, tests).result().detail


def test_many_processes_do_not_add_up_memory(judge: SandboxJudge) -> None:
    code = (
        "import os, time\nfor _ in range(12):\n if os.fork() == 0:\n"
        "  x = bytearray(b'x') * (150 << 20)\n  time.sleep(30)\ntime.sleep(30)\n" + RIGHT
    )
    outcome = judge.submit(code, CallTests(tests=ONE.tests, memory_mib=200)).result()
    assert outcome.status == "memory"
    assert judge.submit(RIGHT, ONE).result().passed


@pytest.mark.slow
def test_an_answer_that_keeps_the_checker_busy_is_the_programs_fault(start_judge: Callable[..., SandboxJudge]) -> None:
    with start_judge("process", workers=1) as judge:
        tests = CallTests(tests=("assert sum(f()) == 5",), time_limit=1)
        assert judge.submit("def f(): return range(10**15)", tests).result().status == "timeout"
        assert judge.submit(RIGHT, ONE).result().passed


@pytest.mark.parametrize("level", ["strict", pytest.param("process", marks=pytest.mark.slow)])
def test_folders_nested_without_end_are_swept(level: str, start_judge: Callable[..., SandboxJudge]) -> None:
    code = "import os\nfor _ in range(1200):\n os.mkdir('d'); os.chdir('d')\nopen('x', 'w')\n" + RIGHT
    with start_judge(level, workers=1) as judge:
        for _ in range(2):
            assert judge.submit(code, ONE).result().passed
        closed = "import os\nos.makedirs('a/b'); open('a/b/c', 'w'); os.chmod('a/b', 0); os.chmod('a', 0)\n" + RIGHT
        assert judge.submit(closed, ONE).result().passed
        assert judge.submit("import os\ndef f(): return os.listdir('..') == os.listdir('.') or 1", ONE).result().passed
        folders = [pair._scratch.path for pair in judge._pairs]
    assert not any(os.path.exists(folder) for folder in folders)


def test_nothing_is_left_running_after_close(start_judge: Callable[..., SandboxJudge]) -> None:
    with start_judge("strict", workers=2) as judge:
        for future in [judge.submit(RIGHT, ONE) for _ in range(8)]:
            assert future.result().passed
        pids = [pid for p in judge._pairs for q in p._processes for pid in (q.pid, *process_tree.descendants(q.pid))]
        assert len(pids) >= 4
    _wait_until_gone(pids)


def _wait_until_gone(pids: Iterable[int | str]) -> None:
    """On a busy machine the kernel takes its time to end what was killed."""
    until = time.monotonic() + 60
    while (left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left


def test_the_parents_death_ends_everything(tmp_path: Path, strict: SandboxJudge) -> None:
    source = """
        import os, sys, time
        from wmtp.judging import open_judge
        from wmtp.judging.sandbox import process_tree
        from wmtp.contracts.judging import CallTests
        judge = open_judge(level="strict", workers=1)
        judge.submit("def f(): return 1", CallTests(tests=("assert f() == 1",))).result()
        print(*process_tree.descendants(os.getpid()), flush=True)
        os.kill(os.getpid(), 9)
    """
    pids = _python(source).stdout.split()
    assert len(pids) >= 3
    _wait_until_gone(pids)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_an_ordinary_user_judges_strictly(tmp_path: Path, strict: SandboxJudge) -> None:
    """With the system's interpreter, since this one may be under a folder that only root may enter."""
    python = "/usr/bin/python3.11"
    libraries = [str(Path(wmtp.__file__).parents[1]), *(p for p in sys.path if p.endswith("site-packages"))]
    reachable = subprocess.run(
        ["setpriv", "--reuid=51234", "--regid=51234", "--clear-groups", python, "-c", "import attr, wmtp.judging"],
        env={"PYTHONPATH": ":".join(libraries)}, check=False, capture_output=True,
    )  # fmt: skip
    if reachable.returncode:
        pytest.skip(f"no interpreter for another user: {reachable.stderr.decode()[-200:]}")
    source = (
        "import json, os\nfrom wmtp.judging import open_judge\nfrom wmtp.contracts.judging import CallTests\n"
        "with open_judge(level='strict', workers=1) as judge:\n"
        " t = CallTests(tests=('assert f() == 1',))\n"
        " print(json.dumps([os.getuid(), judge.submit('def f(): return 1', t).result().status,"
        " judge.submit('def f(): return 2', t).result().status]))"
    )
    ended = subprocess.run(
        ["setpriv", "--reuid=51234", "--regid=51234", "--clear-groups", python, "-c", source],
        env={"PYTHONPATH": ":".join(libraries)}, check=False, capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert ended.stdout, ended.stderr
    assert json.loads(ended.stdout) == [51234, "passed", "failed"]


def test_unknown_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from wmtp.judging.sandbox import seccomp

    with pytest.raises(OSError, match="riscv64"):
        seccomp.program("riscv64", 63)
    assert len(seccomp.program("aarch64", 63)) % 8 == 0


@pytest.mark.slow
def test_ten_thousand_programs_in_flat_memory(strict: SandboxJudge) -> None:
    source = """
        from wmtp.judging import open_judge
        from wmtp.contracts.judging import CallTests
        waiting = []
        with open_judge(level="strict", workers=2) as judge:
            for number in range(10_000):
                code = f"def f(): return 1  # {'x' * 2000} {number}"
                waiting.append(judge.submit(code, CallTests(tests=("assert f() == 1",))))
                if len(waiting) > 50: assert waiting.pop(0).result().passed
        # Not ru_maxrss: that of a process that was started by fork or vfork begins with its parent's.
        print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
    """
    assert int(_python(source).stdout) >> 10 < 200


def test_start_is_refused_with_nonsense() -> None:
    with pytest.raises(JudgeError):
        open_judge(level="strictly")  # type: ignore[arg-type]


def test_cases_may_fail_to_come(strict: SandboxJudge) -> None:
    """What the caller's own iterator raises is the caller's, and the judge goes on."""

    def cases() -> object:
        yield StdioCase(input="1", expected="1")
        raise OSError("the data set is gone")

    with pytest.raises(OSError, match="the data set is gone"):
        strict.submit("print(input())", StdioTests(cases=cases())).result()  # type: ignore[arg-type]
    assert strict.submit(RIGHT, ONE).result().passed
