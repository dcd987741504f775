"""A judge judges alike whatever state its own process is in: signals, limits, the mask of new files, sockets' defaults."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from wmtp.judging.host import own_limits
from wmtp.judging.judge import SandboxJudge

JUDGED = """
import json, os, sys
from wmtp import CallTests, StdioCase, StdioTests
from wmtp.errors import JudgeError
from wmtp.judging import open_judge

PROGRAMS = {
    "right": ("def f(): return 1", "assert f() == 1"),
    "wrong": ("def f(): return 2", "assert f() == 1"),
    "without end": ("def f():\\n    while True: pass", "assert f() == 1"),
    "an alarm": (
        "import signal, time\\n"
        "def f():\\n"
        "    got = []\\n"
        "    signal.signal(signal.SIGALRM, lambda *_: got.append(1))\\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.01)\\n"
        "    time.sleep(0.2)\\n"
        "    return got",
        "assert f() == [1]",
    ),
    "blocked signals": ("import signal\\ndef f(): return len(signal.pthread_sigmask(signal.SIG_BLOCK, []))", "assert f() == 0"),
    "a child": (
        "import os\\n"
        "def f():\\n"
        "    pid = os.fork()\\n"
        "    if pid == 0: os._exit(3)\\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])",
        "assert f() == 3",
    ),
    "files": (
        "import os\\n"
        "def f():\\n"
        "    os.mkdir('d')\\n"
        "    with open('d/x', 'w') as file: file.write('a' * 3_000_000)\\n"
        "    many = [open('d/x') for _ in range(100)]\\n"
        "    return oct(os.stat('d/x').st_mode), len(many[-1].read())",
        "assert f() == ('0o100644', 3_000_000)",
    ),
}
CASES = (StdioCase(input="1 2", expected="3"), StdioCase(input="5", expected="5"))


def judged(level):
    with open_judge(level=level, workers=1, time_limit=1) as judge:
        ends = {name: judge.submit(code, CallTests(tests=(test,))).result().status for name, (code, test) in PROGRAMS.items()}
        ends["stdin"] = judge.submit("print(sum(map(int, input().split())))", StdioTests(cases=CASES)).result().status
    return ends
"""
ENDS = {
    "right": "passed", "wrong": "failed", "without end": "timeout", "an alarm": "passed", "blocked signals": "passed",
    "a child": "passed", "files": "passed", "stdin": "passed",
}  # fmt: skip
STATES = {
    "children are not waited for": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "signals are ignored": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 10, 12, 14, 15, 24, 26, 27)]",
    "signals are blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "no file may be opened again": "os.umask(0o777)",
    "everybody may write": "os.umask(0)",
    "few files, for now": "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 4096))",
    "small files, for now": "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, -1))",
    "little data, for now": "resource.setrlimit(resource.RLIMIT_DATA, (128 << 20, -1))",
    "few processes, for now": "resource.setrlimit(resource.RLIMIT_NPROC, (1, resource.getrlimit(resource.RLIMIT_NPROC)[1]))",
    "little CPU, for now": "resource.setrlimit(resource.RLIMIT_CPU, (20, -1))",
    "sockets that do not wait": "socket.setdefaulttimeout(0.001)",
    "no standard streams": "[os.close(number) for number in (0, 1, 2)]",
}
REFUSED = {
    "RLIMIT_NOFILE": (64, "no more than 64 open files at once (ulimit -Hn), and judging needs 200"),
    "RLIMIT_FSIZE": (1 << 20, "no more than 1 MiB in a file (ulimit -Hf), and judging needs 32 MiB"),
    "RLIMIT_AS": (1 << 30, "no more than 1024 MiB of address space (ulimit -Hv), and judging needs 4096 MiB"),
    "RLIMIT_CPU": (40, "no more than 40 s of CPU (ulimit -Ht), and judging needs 62 s"),
    "RLIMIT_NPROC": (50, "no more than 50 processes at once (ulimit -Hu), and judging needs 64"),
    "RLIMIT_DATA": (512 << 20, "no more than 512 MiB of data (ulimit -Hd), and judging needs 1280 MiB"),
}


def _run(script: str, out: Path) -> dict[str, dict[str, str]]:
    source = f"import os, resource, signal, socket\n{JUDGED}\n{script}"
    environment = {**os.environ, "OUT": str(out)}
    ended = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, dict[str, str]] = json.loads(out.read_text("utf-8"))
    return found


@pytest.mark.parametrize("level", ["strict", "process"])
@pytest.mark.parametrize("state", STATES)
def test_the_state_of_the_process_decides_nothing(
    state: str, level: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(level)  # skips where it cannot hold
    out = tmp_path / "out"
    out.touch()
    script = f"{STATES[state]}\nends = judged({level!r})\n"
    assert _run(f"{script}open(os.environ['OUT'], 'w').write(json.dumps(ends))\n", out) == ENDS


@pytest.mark.parametrize("limit", REFUSED)
def test_a_limit_that_programs_would_meet_is_named(limit: str, tmp_path: Path) -> None:
    hard, said = REFUSED[limit]
    script = (
        "try:\n    judged('process')\nexcept JudgeError as error:\n    said = str(error)\n"
        "os.write(file, json.dumps({'': said}).encode())\n"
    )
    lowered = f"resource.setrlimit(resource.{limit}, ({hard}, {hard}))\n"
    found = _run(f"file = os.open(os.environ['OUT'], os.O_WRONLY | os.O_CREAT)\n{lowered}{script}", tmp_path / "out")
    assert said in found[""]
    assert "--judge process" not in found[""], "less protection would not help"


def test_tests_that_want_more_than_this_process_has_judge_nobody(tmp_path: Path) -> None:
    """Verdicts of a problem with limits of its own, where the judge's hold and these do not."""
    script = (
        "program = 'def f(): return 1'\n"
        "with open_judge(level='process', workers=1) as judge:\n"
        "    tests = [CallTests(tests=('assert f() == 1',), memory_mib=mib) for mib in (2048, 8192)]\n"
        "    more = [judge.submit(program, one).result() for one in tests]\n"
        "os.write(file, json.dumps({'': [outcome.status for outcome in more], 'why': more[1].detail}).encode())\n"
    )
    lowered = "resource.setrlimit(resource.RLIMIT_AS, (5 << 30, 5 << 30))\n"
    found = _run(f"file = os.open(os.environ['OUT'], os.O_WRONLY | os.O_CREAT)\n{lowered}{script}", tmp_path / "out")
    assert found[""] == ["passed", "infrastructure"]
    assert "no more than 5120 MiB of address space (ulimit -Hv), and judging needs 8448 MiB" in found["why"]


def test_a_short_stack_is_noted_and_part_of_what_verdicts_depend_on(
    monkeypatch: pytest.MonkeyPatch, process: SandboxJudge
) -> None:
    assert "stack" not in process.identity
    short = {resource.RLIMIT_STACK: (8 << 20, 8 << 20)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: short.get(which, (-1, -1)))
    (note,) = own_limits.check(10, 1024)
    assert "8 MiB" in note
    assert "120 MiB" in note
    assert process.identity["stack"] == "8 MiB"
