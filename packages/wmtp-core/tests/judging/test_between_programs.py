"""Nothing that a program leaves is seen by the next, and no answer makes a verdict ours."""

from __future__ import annotations

import random
import time

import pytest

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.judging.checker.compare import same_output
from wmtp.judging.judge import SandboxJudge

CHANNELS = {
    "times": (
        "import os\nos.utime('/tmp', ns=(BIT * 10**9, BIT * 10**9))",
        "os.stat('/tmp').st_atime_ns == BIT * 10**9",
    ),
    "mode": ("import os\nos.chmod('/tmp', 0o5755)", "os.stat('/tmp').st_mode & 0o7777 == 0o5755"),
    "pids": (
        "import os\nfor _ in range(9):\n  p = os.fork()\n  if not p: os._exit(0)\n  os.waitpid(p, 0)",
        "os.getpid() != 101",
    ),
    "inodes": ("for n in range(9): open(str(n), 'w')", "os.stat('.').st_ino > 3"),
    "names": ("", "os.getcwd() != '/box/tmp/program'"),
    "files without a name": (
        "import os\nfor _ in range(9): os.close(os.open('.', os.O_TMPFILE | os.O_RDWR))",
        "os.open('x', os.O_CREAT) and os.stat('x').st_ino != 3",
    ),
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_carries_no_bit_in_two_hundred_programs(channel: str, strict: SandboxJudge) -> None:
    """A hundred senders, each with a bit drawn by lot, and a hundred receivers that answer alike whatever was sent: 0 bits."""
    send, receive = (part.replace("BIT", str(1 << 34)) for part in CHANNELS[channel])
    look = CallTests(tests=("assert f() is False",))
    draw = random.Random(channel)
    for _ in range(100):
        sent = strict.submit((send if draw.random() < 0.5 else "") + "\ndef f(): return False", look).result()
        assert sent.passed, sent
        assert strict.submit(f"import os\ndef f(): return {receive}", look).result().passed


def test_a_folder_that_nobody_touches_does_not_tell_how_long_it_has_been_so(strict: SandboxJudge) -> None:
    assert strict.submit("def f(): return False", CallTests(tests=("assert f() is False",))).result().passed
    time.sleep(0.2)
    look = "import os\ndef f(): return min(os.stat(name).st_ctime_ns for name in ('.', '/tmp'))"
    began = time.time_ns() - 50_000_000  # files' clocks tick
    outcome = strict.submit(look, CallTests(tests=(f"assert f() > {began}",))).result()
    assert outcome.passed, outcome


def test_what_tells_counts_of_the_whole_kernel_is_missing(strict: SandboxJudge) -> None:
    look = """
import ctypes, os
call = ctypes.CDLL(None, use_errno=True).syscall
numbers = {"x86_64": (332, 434), "aarch64": (291, 434)}[os.uname().machine]
def f():
    return [call(numbers[0], -100, b".", 0, 0xFFF, ctypes.create_string_buffer(512)), call(numbers[1], os.getpid(), 0)]
"""
    outcome = strict.submit(look, CallTests(tests=("assert f() == [-1, -1]",))).result()
    assert outcome.passed, outcome


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("def f(x): return 10**5000", ("assert f(3) == 5, f(3)",)),
        ("def f(x): return 10**5000", ("assert {1: 2}[f(3)]",)),
        ("def f(g): return g(5, 'real')", ("assert f(getattr) == 7",)),
        ("def f(g): return g('a', 'a')", ("import re\nassert f(re.match) == 7",)),
    ],
)
def test_no_answer_makes_the_verdict_ours(code: str, tests: tuple[str, ...], judge: SandboxJudge) -> None:
    outcome = judge.submit(code, CallTests(tests=tests)).result()
    assert outcome.status in ("failed", "error"), outcome


def test_a_folder_above_that_is_taken_away_costs_no_verdict(judge: SandboxJudge) -> None:
    taking = (
        "import os\nhere = os.getcwd()\ntry: os.rmdir(here); os.rmdir(os.path.dirname(here))\nexcept OSError: pass\n"
    )
    tests = CallTests(tests=("assert f(1) == 1",))
    for code in (f"{taking}def f(x): return x", "def f(x): return x"):
        outcome = judge.submit(code, tests).result()
        assert outcome.passed, outcome


def test_star_imports_of_a_setup_are_the_judges(judge: SandboxJudge) -> None:
    wrong = (
        "import sys, types\nfake = types.ModuleType('math'); fake.pi = 0\nsys.modules['math'] = fake\ndef f(): return 0"
    )
    outcome = judge.submit(wrong, CallTests(tests=("assert f() == pi",), setup="from math import *")).result()
    assert outcome.status == "failed"


STREAMS = {
    "mode and name": (
        "import sys\nassert (sys.stdin.mode, sys.stdout.mode, sys.stdin.name) == ('r', 'w', '<stdin>')\n"
        "print(int(input()) * 2)"
    ),
    "closed": "import sys\nprint(int(input()) * 2)\nsys.stdout.close()",
    "None": "import sys\nprint(int(input()) * 2, flush=True)\nsys.stdout = None",
    "deleted": "import sys\nprint(int(input()) * 2, flush=True)\ndel sys.stdout",
    "a file over 1, left open": "out = open(1, 'w', closefd=False)\nout.write(str(int(input()) * 2))",
    "a finalizer": "class A:\n def __del__(self): print(int(input()) * 2)\na = A()",
    "many digits": "n = int(input())\nassert len(str(3**20000)) == 9543\nprint(n * 2)",
}


@pytest.mark.parametrize("code", STREAMS.values(), ids=STREAMS)
def test_streams_are_as_cpython_makes_and_leaves_them(code: str, judge: SandboxJudge) -> None:
    cases = [StdioCase(input="1\n", expected="2\n"), StdioCase(input="2\n", expected="4\n")]
    assert judge.submit(code, StdioTests(cases=cases)).result().passed


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("9007199254740993", "9007199254740992", False),
        ("1000", "1_000", False),
        ("12", "\uff11\uff12", False),
        ("3141592653.589793", "3141592653.5899", True),
        ("inf", "Infinity", True),
        ("a b", "a\fb", False),
        ("YES", "yes", True),
        ("5", "5.0", True),
    ],
)
def test_tokens(expected: str, printed: str, same: bool) -> None:
    assert same_output(expected, printed, "tokens") is same


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("1\n2", " 1  \n\t2\n\n", True),
        ("1 2", "1.0 2.00", True),
        ("1", "1e0", True),
        ("50000000000000000", "50000000000000001", False),
        ("0.1", "0.10000001", False),
        ("1 2", "1\n2", False),
        ("YES", "yes", False),
        ("1 a", "1.0 a", False),
        ("1", "1_0", False),
        ("nan", "NaN", False),
        ("1", "", False),
        ("", "\n", True),
    ],
)
def test_decimals(expected: str, printed: str, same: bool) -> None:
    assert same_output(expected, printed, "decimals") is same


def test_no_tests_are_refused(judge: SandboxJudge) -> None:
    with pytest.raises(ValueError, match="empty"):
        CallTests(tests=())
    assert judge.submit("1", StdioTests(cases=[])).result().status == "infrastructure"
    with pytest.raises(ValueError, match="plain file name"):
        StdioTests(cases=[], input_file="/root/x")
