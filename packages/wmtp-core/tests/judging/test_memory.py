"""What a test expects, and its text, are nowhere in the memory of the processes that run the program."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.judging.judge import SandboxJudge
from wmtp.judging.sandbox import process_tree

SEEN, HIDDEN, COMMENT, PRINTED = "seen-5b1c", "hidden-9e77", "comment-c0a4", "printed-31fd"
# They go on once the test says that it has looked, however long that takes.
PAUSE = """
import signal, time
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
def pause():
    while not seen: time.sleep(0.02)
"""
WAIT = PAUSE + "def f(x):\n    pause()\n    return x\n"
WAIT_STDIN = PAUSE + "word = input()\npause()\nprint(word)\n"


def _holds(pid: int, words: tuple[str, ...]) -> set[str]:
    """Those of `words` found anywhere in the readable memory of a process."""
    found = set()
    wanted = {w: {w.encode(), w.encode("utf-16-le")} for w in words}
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="ascii")
        memory = open(f"/proc/{pid}/mem", "rb", buffering=0)  # noqa: SIM115
    except (FileNotFoundError, ProcessLookupError):
        return found  # it has ended since it was listed, and its memory with it
    with memory:
        for line in maps.splitlines():
            span, rights, *_ = line.split()
            if "r" not in rights or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, stop = (int(part, 16) for part in span.split("-"))
            data = b""
            while start < stop:
                try:
                    piece = os.pread(memory.fileno(), min(1 << 22, stop - start), start)
                except OSError:
                    break
                if not piece:
                    break
                data = data[-64:] + piece
                found |= {w for w, forms in wanted.items() if any(form in data for form in forms)}
                start += len(piece)
    return found


def _scan_until_seen(judge: SandboxJudge) -> dict[int, set[str]]:
    """Scans until the program has its argument, and lets it go on. Words of every scan count."""
    memory: dict[int, set[str]] = {}
    until = time.monotonic() + 100
    while time.monotonic() < until and not any(SEEN in memory.get(pid, ()) for pid in _waiting(judge)):
        time.sleep(0.05)
        for pid in _candidates(judge):
            memory.setdefault(pid, set()).update(_holds(pid, (SEEN, HIDDEN, COMMENT, PRINTED)))
    for pid in _waiting(judge):
        os.kill(pid, signal.SIGUSR1)
    return memory


def _candidates(judge: SandboxJudge) -> list[int]:
    """Every process on the candidate's side of the judge's pairs."""
    zygotes = [process.pid for pair in judge._pairs for process in pair._processes[:1]]
    return [pid for zygote in zygotes for pid in (zygote, *process_tree.descendants(zygote))]


def _waiting(judge: SandboxJudge) -> list[int]:
    """Those of them that listen to the signal which ends their pause."""
    found = []
    for pid in _candidates(judge):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
            caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
            found += [pid] if caught >> (signal.SIGUSR1 - 1) & 1 else []
    return found


@pytest.mark.parametrize("level", ["strict", "process"])
def test_calls(level: str, start_judge: Callable[..., SandboxJudge]) -> None:
    # The words are put together here, so that this file's text is in nobody's memory by accident.
    test = f"assert f({SEEN!r}) == {HIDDEN!r}  # {COMMENT}"
    with start_judge(level, workers=1) as judge:
        first = judge.submit("def f(x): return x", CallTests(tests=(test,))).result()
        assert first.status == "failed"
        future = judge.submit(WAIT, CallTests(tests=(test, test), setup=f"# {COMMENT}", time_limit=60))
        memory = _scan_until_seen(judge)
        assert future.result().status == "failed"
    assert any(SEEN in words for words in memory.values())  # the scan does find what is there
    assert [words for words in memory.values() if words & {HIDDEN, COMMENT}] == []


@pytest.mark.parametrize("level", ["strict", "process"])
def test_stdin_programs(level: str, start_judge: Callable[..., SandboxJudge]) -> None:
    with start_judge(level, workers=1) as judge:
        future = judge.submit(WAIT_STDIN, StdioTests(cases=[StdioCase(input=SEEN, expected=HIDDEN)], time_limit=60))
        memory = _scan_until_seen(judge)
        assert future.result().status == "failed"
    assert any(SEEN in words for words in memory.values())
    assert [words for words in memory.values() if HIDDEN in words] == []


LOOK_AROUND = """
import gc, os, sys
def f(x):
    places = [repr(v) for v in gc.get_objects() if type(v) in (str, bytes, list, tuple, dict)][:200000]
    places += [repr(sys.argv), repr(dict(os.environ)), repr(os.listdir('.'))]
    for folder in ('/tmp', '/proc', '/'):
        try: places.append(repr(os.listdir(folder)))
        except OSError: pass
    text = ' '.join(places)
    return [word[0] + word[1] in text for word in (('hidden', '-9e77'), ('comment', '-c0a4'))]
"""


def test_a_program_that_looks_around_finds_nothing(strict: SandboxJudge) -> None:
    test = f"assert f(1) == [False, False], {HIDDEN!r}  # {COMMENT}"
    outcome = strict.submit(LOOK_AROUND, CallTests(tests=(test,))).result()
    assert outcome.passed, outcome


def test_nothing_of_one_program_reaches_the_next(judge: SandboxJudge) -> None:
    leave = (
        "import os, sys, builtins, math\nbuiltins.left = math.left = sys.modules['left'] = 1\nos.environ['LEFT'] = '1'\n"
        "open('left', 'w').write('x')\nopen('../left', 'w').write('x')\nos.makedirs('../d/e')\nos.umask(0o777)\n"
        "sys.setrecursionlimit(100)\ndef f(): return 1"
    )
    look = (
        "import os, sys, builtins, math\ndef f():\n"
        " return [hasattr(builtins, 'left'), hasattr(math, 'left'), 'left' in sys.modules, 'LEFT' in os.environ,"
        " os.listdir('.'), [n for n in os.listdir('..') if n in ('left', 'd')], sys.getrecursionlimit() > 900]"
    )
    assert judge.submit(leave, CallTests(tests=("assert f() == 1",))).result().passed
    expected = "assert f() == [False, False, False, False, [], [], True]"
    assert judge.submit(look, CallTests(tests=(expected,))).result().passed
