"""Programs that read stdin and print: compiled once, forked for each case, compared outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wmtp.contracts.judging import StdioCase, StdioTests
from wmtp.judging.judge import SandboxJudge

DOUBLE = [StdioCase(input="1\n", expected="2\n"), StdioCase(input="21\n", expected="42\n")]

RIGHT = {
    "input": "print(int(input()) * 2)",
    "sys.stdin": "import sys\nprint(int(sys.stdin.read()) * 2)",
    "iteration": "import sys\nfor line in sys.stdin: print(int(line) * 2)",
    "stdin.buffer": "import sys\nsys.stdout.buffer.write(b'%d' % (int(sys.stdin.buffer.readline()) * 2))",
    "descriptors": "import os\nos.write(1, b'%d' % (int(os.read(0, 100)) * 2))",
    "open(0)": "print(int(open(0).read()) * 2)",
    "/dev/stdin": "import os\nassert os.listdir('.') == []\nprint(int(open('/dev/stdin').read()) * 2)",
    "/dev/stdin, closed to others": "import os\nprint(int(input()) * 2)\nos.chmod('/dev/stdin', 0)",
    "__file__": "import os\nprint(int(input()) * 2 * (os.path.basename(os.path.abspath(__file__)) == 'program.py'))",
    "mixed": "import sys\nn = int(input())\nassert sys.stdin.readline() == ''\nprint(n * 2)",
    "until the end": "t = 0\ntry:\n while True: t += int(input())\nexcept EOFError: print(t * 2)",
    "exit after output": "import sys\nprint(int(input()) * 2)\nsys.exit()",
    "exit 0": "print(int(input()) * 2)\nexit(0)",
    "main guard": "def main(): print(int(input()) * 2)\nif __name__ == '__main__': main()",
    "thread with a large stack": (
        "import sys, threading\nthreading.stack_size(1 << 27)\nsys.setrecursionlimit(1 << 20)\n"
        "def down(n): return 0 if n == 0 else 1 + down(n - 1)\n"
        "def main(): print(int(input()) * 2 + down(50000) - 50000)\nt = threading.Thread(target=main)\nt.start()\nt.join()"
    ),
    "unjoined thread": (
        "import threading, time\ndef m():\n time.sleep(0.1)\n print(int(input()) * 2)\nthreading.Thread(target=m).start()"
    ),
    "at exit": "import atexit\nn = int(input())\natexit.register(lambda: print(n * 2))",
    "own buffer": "import sys, io\nout = io.StringIO()\nprint(int(input()) * 2, file=out)\nsys.stdout.write(out.getvalue())",
    "debug on stderr": "import sys\nprint('x' * 200000, file=sys.stderr)\nprint(int(input()) * 2)",
    "trailing spaces": "print('  ', int(input()) * 2, '  \\n\\n')",
    "BOM and CRLF": "\ufeffn = int(input())\r\nprint(n * 2)\r\n",
    "arguments": "import argparse\nargparse.ArgumentParser().parse_args()\nprint(int(input()) * 2)",
    "write a file": "open('x', 'w').write(input())\nprint(int(open('x').read()) * 2)",
    "global state is fresh": "import math\nassert not hasattr(math, 'seen')\nmath.seen = 1\nprint(int(input()) * 2)",
}  # fmt: skip


@pytest.mark.parametrize("code", RIGHT.values(), ids=RIGHT)
def test_right_programs_pass(code: str, judge: SandboxJudge) -> None:
    outcome = judge.submit(code, StdioTests(cases=DOUBLE, compare="tokens")).result()
    assert (outcome.status, outcome.tests_passed) == ("passed", 2), outcome


WRONG = [
    ("wrong answer", "print(int(input()))", "failed"),
    ("nothing", "pass", "failed"),
    ("too much", "print(int(input()) * 2, 0)", "failed"),
    ("exception", "print(int(input()) * 2)\n1 / 0", "error"),
    ("exit status", "import sys\nprint(int(input()) * 2)\nsys.exit(3)", "error"),
    ("message exit", "import sys\nprint(int(input()) * 2)\nsys.exit('bye')", "error"),
    ("does not compile", "print(", "error"),
    ("null byte", "print(1)\0", "error"),
    ("loop", "while True: pass", "timeout"),
    ("loop that prints", "while True: print(sum(range(10**5)), flush=True)", "timeout"),
    ("memory", "x = bytearray(3 << 30)", "memory"),
    ("flood", "while True: print('x' * 1000000)", "output"),
    ("socket", "import socket\nsocket.socket()", "blocked"),
    pytest.param(
        "stops its keeper",
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)",
        "timeout",
        marks=pytest.mark.slow,
    ),
    ("kills its keeper", "import os\nos.kill(os.getppid(), 9)\nwhile True: pass", "error"),
    ("kills itself", "import os\nos.kill(os.getpid(), 9)", "error"),
]


@pytest.mark.parametrize(("name", "code", "status"), WRONG)
def test_wrong_programs_and_why(name: str, code: str, status: str, strict: SandboxJudge) -> None:
    outcome = strict.submit(code, StdioTests(cases=DOUBLE, time_limit=1)).result()
    assert (outcome.status, outcome.tests_passed) == (status, 0), outcome
    assert outcome.detail


def test_the_first_failure_ends_it_and_cases_are_read_one_by_one(judge: SandboxJudge) -> None:
    taken: list[int] = []

    def cases() -> Iterator[StdioCase]:
        for number in range(100):
            taken.append(number)
            yield StdioCase(input=f"{number}\n", expected="0\n" if number < 3 else "1\n")

    outcome = judge.submit("print(0)", StdioTests(cases=cases())).result()
    assert (outcome.status, outcome.tests_passed, outcome.tests) == ("failed", 3, 4)
    assert outcome.detail == "test 4: wrong output"
    assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("expected", "printed", "how", "same"),
    [
        ("Yes\n", "YES", "tokens", True),
        ("1 2\n3", "1\n2 3", "tokens", True),
        ("0.333333", "0.3333333333", "tokens", True),
        ("0.3333", "0.3334", "tokens", False),
        ("1", "1 1", "tokens", False),
        ("nan", "nan", "tokens", True),
        ("abc", "abd", "tokens", False),
        ("a\n", "a\n", "exact", True),
        ("a\n", "a", "exact", False),
    ],
)
def test_comparison(expected: str, printed: str, how: str, same: bool, strict: SandboxJudge) -> None:
    tests = StdioTests(cases=[StdioCase(input="", expected=expected)], compare=how)  # type: ignore[arg-type]
    assert strict.submit(f"print({printed!r}, end='')", tests).result().passed is same


def test_files_in_place_of_streams(judge: SandboxJudge) -> None:
    tests = StdioTests(cases=DOUBLE, input_file="in.txt", output_file="out.txt")
    code = "n = int(open('in.txt').read())\nprint('noise')\nopen('out.txt', 'w').write(str(n * 2))"
    assert judge.submit(code, tests).result().passed
    assert judge.submit("print(int(open('in.txt').read()) * 2)", tests).result().status == "failed"


def test_much_input_and_output_at_once(judge: SandboxJudge) -> None:
    text = "123456789 " * 300_000
    code = "import sys\nfor word in sys.stdin.read().split(): print(word)"
    assert (
        judge.submit(code, StdioTests(cases=[StdioCase(input=text, expected=text)], compare="tokens")).result().passed
    )
