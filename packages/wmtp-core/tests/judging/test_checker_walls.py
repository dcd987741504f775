"""Data rows are programs: the checker, which runs them, reaches no file, network or process, at either level."""

from __future__ import annotations

from pathlib import Path

import pytest

from wmtp.contracts.judging import CallTests
from wmtp.judging.judge import SandboxJudge

RIGHT = "def f(x): return x"
HARMLESS = CallTests(tests=("assert f(3) == 3",))
HOSTILE = {
    "reads a file": "assert open('/etc/passwd').read()",
    "reads its own /proc": "assert open('/proc/self/environ').read()",
    "lists the root": "import os\nassert os.listdir('/')",
    "reads what is installed": (
        "import os, sys\nbeside = [p for p in sys.path if 'lib-dynload' in p][0] + '/../site-packages'\n"
        "for top, _, names in os.walk(beside):\n    for name in names: open(f'{top}/{name}')\n"
        "assert os.path.isdir(beside) and not os.listdir(beside)"
    ),
    "writes a file": "open('TARGET', 'w').write('x')",
    "writes below the folder of libraries": "import os\nopen(os.path.dirname(os.__file__) + '/x.py', 'w')",
    "removes a file": "import os\nos.remove('TARGET.kept')",
    "truncates a file": "import os\nos.truncate('TARGET.kept', 0)",
    "makes a folder": "import os\nos.mkdir('TARGET')",
    "links": "import os\nos.link('TARGET.kept', 'TARGET')",
    "opens a socket": "import socket\nsocket.socket()",
    "opens a socket of the file system": "import socket\nsocket.socket(socket.AF_UNIX)",
    "sends UDP": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "forks": "import os\npid = os.fork()\nassert pid is None",
    "starts a command": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'echo x > TARGET'])",
    "starts a command by os.system": "import os\nassert os.system('echo x > TARGET') == 0",
    "becomes another program": "import os\nos.execv('/bin/sh', ['/bin/sh', '-c', 'echo x > TARGET'])",
    "kills its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "kills everybody": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "makes a file in memory": "import os\nos.memfd_create('x')",
    "traces": "import ctypes\nassert ctypes.CDLL(None, use_errno=True).ptrace(16, 1, 0, 0) == 0",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_test_that_reaches_out_is_broken_and_nothing_comes_of_it(
    what: str, judge: SandboxJudge, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    kept = tmp_path / "target.kept"
    kept.write_text("kept", encoding="ascii")
    test = HOSTILE[what].replace("TARGET", str(target)) + "\nassert f(3) == 3"
    outcome = judge.submit(RIGHT, CallTests(tests=(test,))).result()
    assert not outcome.passed
    assert not target.exists()
    assert kept.read_text(encoding="ascii") == "kept"
    assert judge.submit(RIGHT, HARMLESS).result().passed


@pytest.mark.parametrize("where", ["the setup", "the name of a module", "a helper"])
def test_it_holds_wherever_a_row_brings_code(where: str, judge: SandboxJudge) -> None:
    reading = "open('/etc/passwd').read()"
    tests = {
        "the setup": CallTests(tests=HARMLESS.tests, setup=reading),
        "the name of a module": CallTests(tests=("assert f(3) == 3",), setup="from os import *\nlistdir('/')"),
        "a helper": CallTests(tests=(f"def check(f):\n    {reading}\n    assert f(3) == 3\ncheck(f)",)),
    }
    outcome = judge.submit(RIGHT, tests[where]).result()
    assert outcome.status == "infrastructure", outcome
    assert "by itself" in outcome.detail


ALLOWED = {
    "modules of the standard library": "import asyncio, decimal, sqlite3, ssl, unittest.mock, xml.etree.ElementTree, zoneinfo",
    "time zones": "import zoneinfo\nassert zoneinfo.ZoneInfo('Europe/Berlin')",
    "threads": "import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()",
    "an event loop": "import asyncio\nasync def g(): return 3\nassert asyncio.run(g()) == f(3)",
    "a signal to itself": (
        "import os, signal\nhit = []\nsignal.signal(10, lambda *a: hit.append(1))\nos.kill(os.getpid(), 10)\nassert hit"
    ),
    "text that is a file": "import io\nassert io.StringIO('x').read() == 'x'",
    "random numbers": "import os, random, secrets\nassert os.urandom(4) and secrets.token_hex()",
}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_tests_need_they_have(what: str, judge: SandboxJudge) -> None:
    outcome = judge.submit(RIGHT, CallTests(tests=(ALLOWED[what] + "\nassert f(3) == 3",))).result()
    assert outcome.passed, outcome


OWN_FAULTS = {
    "a package that is not here": "import no_such_package\nassert f(3) == 3",
    "a package that is not here, in a helper": (
        "def near(a, b):\n    import no_such_package\n    return a == b\nassert near(f(3), 3)"
    ),
    "a file that is not here": "rows = open('/no/such/rows.csv').read()\nassert f(3) == 3",
    "a file that is not here, after a call": "assert f(3) == 3\nassert f(4) == len(open('/no/such/rows.csv').read())",
    "a sum of its own": "assert f(3) == len([2]) / len([])",
    "a sum of its own that divides an answer": "assert f(3) / len([]) == 3",
    "a value of its own": "wanted = [1, 2]\nassert f(3) == wanted[5]",
    "a module's name": "import math\nassert f(3) == math.no_such_thing",
}
PROGRAMS_FAULTS = {
    "a name that it lacks": ("def g(x): return x", "assert f(3) == 3"),
    "a value too short": ("def f(x): return []", "assert f(3)[0] == 3"),
    "no value": ("def f(x): return None", "assert f(3) + 1 == 3"),
    "a value of another kind": ("def f(x): return 3", "assert sum(f(3)) == 3"),
    "an exception of its own": ("def f(x): return open('/no/such/rows.csv')", "assert f(3) == 3"),
    "an import of its own": ("def f(x):\n    import numpy\n    return x", "assert f(3) == 3"),
    "a value kept for later": ("def f(x): return []", "got = f(3)\nassert got[0] == 3"),
    "a value in a helper": ("def f(x): return 3", "def total(x): return sum(x)\nassert total(f(3)) == 3"),
    "a list of the test's that it empties": ("def f(l): l.clear()", "l = [3, 1]\nf(l)\nassert l[0] == 1"),
    "a dict of the test's that it empties": ("def f(d): d.clear()", "d = {'a': 1}\nf(d)\nassert d['a'] == 1"),
    "a list filled with its answers": ("def f(x): return ''", "l = []\nl.append(f(3))\nassert l[0] + 1 == 1"),
    "a function named like a builtin that it lacks": ("def total(a, b): return 6", "assert sum(10, 15) == 6"),
    "a false assertion": ("def f(x): return 4", "assert f(3) == 3"),
}


@pytest.mark.parametrize("what", OWN_FAULTS)
def test_a_tests_own_fault_is_named_and_nobodys_failure(what: str, judge: SandboxJudge) -> None:
    outcome = judge.submit(RIGHT, CallTests(tests=(OWN_FAULTS[what],))).result()
    assert outcome.status == "infrastructure", outcome
    assert "test 1 fails by itself" in outcome.detail


@pytest.mark.parametrize("what", PROGRAMS_FAULTS)
def test_a_programs_fault_stays_the_programs(what: str, judge: SandboxJudge) -> None:
    code, test = PROGRAMS_FAULTS[what]
    outcome = judge.submit(code, CallTests(tests=(test,))).result()
    assert outcome.status in ("failed", "error"), outcome


@pytest.mark.parametrize(
    ("reference", "test", "status"),
    [
        ("def f(x): return x", "assert near(f(3), 3)", "infrastructure"),  # a helper that the row forgot
        ("def f(x): return x", "assert f(3) == THREE", "infrastructure"),
        ("THREE = 3\ndef f(x): return x", "assert f(3) == THREE", "error"),
        (
            "def sum(a, b): return 6",
            "assert sum(10, 15) == 6",
            "error",
        ),  # what the program lacks is named like a builtin
        ("from math import *\ndef f(x): return x", "assert f(3) == THREE", "error"),  # it may come from there
        ("def f(x: return x", "assert f(3) == THREE", "error"),
        ("", "assert f(3) == THREE", "error"),
    ],
)
def test_a_name_that_a_right_program_lacks_too_is_missing_in_the_tests(
    reference: str, test: str, status: str, judge: SandboxJudge
) -> None:
    outcome = judge.submit(RIGHT, CallTests(tests=(test,), reference=reference)).result()
    assert outcome.status == status, outcome
