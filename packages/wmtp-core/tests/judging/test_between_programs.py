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
    "pipes": (
        "import os\nfor _ in range(99): [os.close(end) for end in os.pipe()]",
        "os.fstat(os.pipe()[0]).st_ino != 3",
    ),
    "pairs": (
        "import socket\nfor _ in range(99): socket.socketpair()",
        "[os.fstat(end.fileno()).st_ino for end in __import__('socket').socketpair()] != [3, 4]",
    ),
    "its channel": ("import os\nfor _ in range(90): os.pipe()", "any(map(os.path.exists, range(3, 256)))"),
    "the standard streams": (
        "import os\ntry: os.utime(1)\nexcept OSError: pass",
        "__import__('time').time() - max(map(os.path.getmtime, range(3))) < 0.1",
    ),
    "files without a name": (
        "import os\nfor _ in range(9): os.close(os.open('.', os.O_TMPFILE | os.O_RDWR))",
        "os.open('x', os.O_CREAT) and os.stat('x').st_ino != 3",
    ),
}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("senders", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_a_channel_carries_no_bit(channel: str, senders: int, strict: SandboxJudge) -> None:
    """As many senders, each with a bit drawn by lot, as receivers, which answer alike whatever was sent: 0 bits."""
    send, receive = (part.replace("BIT", str(1 << 34)) for part in CHANNELS[channel])
    look = CallTests(tests=("assert f() is False",))
    draw = random.Random(channel)
    for _ in range(senders):
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


USED = """
import mmap
room = mmap.mmap(-1, COUNT * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
for at in range(0, len(room), mmap.PAGESIZE): room[at] = 1
def f(): return 1
"""
SEARCH = """
import ctypes, os, struct, sys
here, there = os.pipe()
write = ctypes.CDLL(None).write
def f(wanted):
    found, some = 0, (object(), sys.modules, f, 12345678, [1], 1.5 * wanted, "x" * wanted)
    for page in (page for arena in {id(one) >> 20 for one in some} for page in range(arena << 20, arena + 1 << 20, 4096)):
        if write(there, ctypes.c_void_p(page), ctypes.c_size_t(4096)) == 4096:
            data = os.read(here, 4096)
            places = [at for at in range(0, 4076, 8) if data[at : at + 16] == struct.pack("=Qq", id(int), 1)]
            found += sum(0 <= struct.unpack_from("=I", data, at + 16)[0] - wanted < 400 for at in places)
    return found
"""


def test_what_a_program_used_stands_in_no_memory_of_the_next(strict: SandboxJudge) -> None:
    """The count of its page faults, which it chooses, among the numbers that the zygote holds: as many as after another one."""
    seen = []
    for count in (22_600, 26_100):
        assert strict.submit(USED.replace("COUNT", str(count)), CallTests(tests=("assert f() == 1",))).result().passed
        outcome = strict.submit(SEARCH, CallTests(tests=("raise ValueError(f(22600))",))).result()
        seen.append(outcome.detail)
    assert "ValueError" in seen[0], seen
    assert seen[0] == seen[1]


def test_all_that_can_be_read_is_in_memory(strict: SandboxJudge) -> None:
    """Where a name that was looked for in vain is not remembered, and no page is nearer than another."""
    look = """
import ctypes, os, sys, zoneinfo
statfs = ctypes.CDLL(None).statfs
def kind(path):
    found = ctypes.create_string_buffer(256)
    return statfs(path.encode(), found) or int.from_bytes(found[:8], sys.byteorder)
def f():
    tops = ["/", *sys.path, *zoneinfo.TZPATH, "/lib", "/lib64", "/usr/lib", "/usr/lib/locale", "/packages"]
    every = [top for start in tops for top, _, _ in os.walk(start)]
    files = [f"{top}/{name}" for top in set(every) for name in os.listdir(top)]
    devices = {os.stat(path).st_dev for path in files if os.path.isfile(path) and not path.startswith("/box")}
    return len(files) > 1000, {kind(path) for path in tops if os.path.exists(path)}, devices == {os.stat("/").st_dev}
"""
    outcome = strict.submit(look, CallTests(tests=("assert f() == (True, {0x01021994}, True)",))).result()
    assert outcome.passed, outcome


def test_what_tells_counts_of_the_kernel_or_changes_what_all_share_is_missing(strict: SandboxJudge) -> None:
    look = """
import ctypes, os
call = ctypes.CDLL(None, use_errno=True).syscall
statx, clone, getsockopt, madvise, pipe2, socketpair, flock = {
    "x86_64": (332, 56, 55, 28, 293, 53, 73), "aarch64": (291, 220, 209, 233, 59, 199, 32),
}[os.uname().machine]
room = ctypes.create_string_buffer(512)
file = os.open(os.__file__, os.O_RDONLY)
def fcntl(command): return __import__("fcntl").fcntl(file, command, 0)
def f():
    found = [
        call(statx, -100, b".", 0, 0xFFF, room),
        call(434, os.getpid(), 0),  # pidfd_open
        call(clone, 0x1000 | 17, 0, room, 0, 0),  # CLONE_PIDFD
        call(getsockopt, 63, 1, 57, room, ctypes.byref(ctypes.c_int(8))),  # SO_COOKIE
        call(getsockopt, 63, 1, 77, room, ctypes.byref(ctypes.c_int(4))),  # SO_PEERPIDFD
        call(pipe2, room, 0),
        call(socketpair, 1, 1, 0, room),
        *(call(madvise, 0, 4096, advice) for advice in (12, 20, 21, 25)),  # MERGEABLE, COLD, PAGEOUT, COLLAPSE
        call(flock, file, 2) - 1,  # it does nothing, and says that it did
        *(call(number, 63) for number in (32 if statx == 332 else 23, 5 if statx == 332 else 80)),  # dup, fstat
    ]
    for command in (5, 36, 1024, 1025, 1026):  # F_GETLK, F_OFD_GETLK, leases, F_NOTIFY
        try: found.append(fcntl(command))
        except OSError as error: found.append(-1 if error.errno == 1 else error.errno)
    return set(found)
"""
    outcome = strict.submit(look, CallTests(tests=("assert f() == {-1}",))).result()
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
        ("7", "+007", True),
        ("0", "-0", True),
        ("7", "-7", False),
        ("7", "7" * 5_000_000, False),  # as numbers they would take minutes
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
        ("1", "1e99999999999999999999", False),  # no decimal has such an exponent
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
