"""What is copied at a fork costs no fault later, and nothing but that."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wmtp.contracts.judging import CallTests
from wmtp.judging.judge import SandboxJudge
from wmtp.judging.sandbox import hot_pages, process_tree

LOOK = CallTests(tests=("assert f(3) == 4",))


def _faults(pid: int) -> tuple[int, int]:
    """Minor faults of a process, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[7]), int(fields[8])


def _needs_a_ring() -> int:
    ring = hot_pages.open_ring()
    if ring is None:
        pytest.skip("io_uring may not be used here")
    if os.geteuid() and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < 1 << 23:
        os.close(ring)
        pytest.skip("too little memory may be locked here")
    return ring


def _zygote(judge: SandboxJudge) -> int:
    (pair,) = judge._pairs
    return pair._zygote if judge.level == "process" else process_tree.children(pair._zygote)[0]


@pytest.mark.parametrize("level", ["strict", "process"])
def test_a_verdict_costs_a_third_of_the_page_faults_it_would(
    level: str, start_judge: Callable[..., SandboxJudge]
) -> None:
    """Without it a zygote takes 140 to 200 of them a program, and the program's process 350 to 420. Each of four judges: a page
    that is given back between rehearsal and pinning once kept every second zygote from having any pinned."""
    os.close(_needs_a_ring())
    seen = []
    for _ in range(4):
        with start_judge(level, workers=1) as judge:
            seen.append(_faults_a_program(judge))
    assert max(seen) < (140 + 350) / 3, seen


def _faults_a_program(judge: SandboxJudge) -> float:
    assert judge.submit("def f(x): return x + 1", LOOK).result().passed
    zygote, count = _zygote(judge), 20
    before = sum(_faults(zygote))
    for number in range(count):
        assert judge.submit(f"def f(x): return x + {number + 1} - {number}", LOOK).result().passed
    return (sum(_faults(zygote)) - before) / count


def test_pinned_pages_are_the_childs_own_from_its_first_moment() -> None:
    """In a process of its own, since what is pinned stays so."""
    ring = _needs_a_ring()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(tell, repr(_count_faults(ring)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    shared, pinned = map(int, os.read(told, 100).decode().strip("()").split(","))
    for descriptor in (told, tell, ring):
        os.close(descriptor)
    assert shared >= 100
    assert pinned < 50


def _count_faults(ring: int) -> tuple[int, int]:
    area = mmap.mmap(-1, 200 * hot_pages.PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.write(b"x" * len(area))
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    pages = range(start, start + len(area), 2 * hot_pages.PAGE)

    def written_by_a_child() -> int:
        pid = os.fork()
        if pid == 0:
            for place in range(0, len(area), 2 * hot_pages.PAGE):
                area[place] = 1
            os._exit(0)
        used: Any = os.wait4(pid, 0)[2]
        return int(used.ru_minflt)

    bare = written_by_a_child()
    assert hot_pages.pin(ring, hot_pages.vector(pages))
    after = written_by_a_child()
    hot_pages.unpin(ring)
    return bare, after - (bare - 100)


def _runs_alone(script: str) -> None:
    """In an interpreter of its own, since what is done to its memory stays done."""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_code_in_huge_pages_is_the_same_code_at_the_same_place() -> None:
    """Where the kernel has no huge pages, nothing is replaced."""
    script = (
        "import json, re\nfrom wmtp.judging.sandbox import huge_text\n"
        "count = huge_text.replace()\n"
        "huge = sum(int(n) << 10 for n in re.findall(r'AnonHugePages: +(\\d+)', open('/proc/self/smaps').read()))\n"
        "assert json.loads(json.dumps([1.5, {'a': None}])) == [1.5, {'a': None}]\n"
        "assert count % huge_text.HUGE == 0 and huge >= count and huge_text.replace() == 0\n"
        "print(count)"
    )
    _runs_alone(script)


def test_a_library_is_two_areas_and_nothing_is_both_written_and_run() -> None:
    script = (
        "import collections, decimal, json, re\nfrom wmtp.judging.sandbox import areas\n"
        "found = lambda: re.findall(r'^[0-9a-f]+-[0-9a-f]+ (....) .* (/.*)$', open('/proc/self/maps').read(), re.M)\n"
        "before, joined, after = found(), areas.join(), found()\n"
        "assert joined >= 4 and len(after) <= len(before) - joined, (joined, len(before), len(after))\n"
        "assert set(collections.Counter(f for _, f in after if '.cpython-' in f).values()) <= {2}\n"
        "assert not [mode for mode, _ in after if 'w' in mode and 'x' in mode] and areas.join() == 0\n"
        "assert json.loads(json.dumps([str(decimal.Decimal(1) / 3)])) and __import__('_queue')"
    )
    _runs_alone(script)


def test_memory_in_large_folios_is_the_same_memory_at_the_same_place() -> None:
    """The interpreter goes on in what was copied: it makes, drops and forks."""
    script = (
        "import os, gc, json\nfrom wmtp.judging.sandbox import large_folios\n"
        "made = [[str(number) * 9, {number: [number]}] for number in range(20_000)]\n"
        "text, proc = json.dumps(made), os.open('/proc', os.O_RDONLY)\n"
        "count = large_folios.gather(proc)\n"
        "assert count == 0 or count > 1 << 20, count\n"
        "assert json.dumps(made) == text and [str(number) for number in range(50_000)][-1] == '49999'\n"
        "del made[::2]; gc.collect()\n"
        "pid = os.fork() or os._exit(json.loads(text)[1][0] != made[0][0])\n"
        "assert os.waitpid(pid, 0)[1] == 0"
    )
    _runs_alone(script)


def test_neighbouring_pages_are_one_range() -> None:
    page = hot_pages.PAGE
    assert hot_pages.ranges([3 * page, page, 2 * page, 7 * page]) == [(page, 3 * page), (7 * page, page)]
    assert hot_pages.ranges([]) == []


def test_programs_can_neither_make_a_ring_nor_find_one(strict: SandboxJudge) -> None:
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
page = ctypes.create_string_buffer(1 << 13)
def f():
    made = libc.syscall(425, 1, ctypes.create_string_buffer(120))
    found = [n for n in range(300) if libc.syscall(427, n, 0, (ctypes.c_long * 2)(ctypes.addressof(page), 4096), 1) == 0]
    asked = [n for n in range(40) if libc.syscall(427, -1, n, None, 0) >= 0]
    return made, found, asked
"""
    outcome = strict.submit(program, CallTests(tests=("assert f() == (-1, [], [])",))).result()
    assert outcome.passed, outcome


def test_programs_get_none_of_the_zygotes_descriptors(judge: SandboxJudge) -> None:
    """Its ring, what tells of ended children, and what tells whether a folder was touched."""
    program = """
import ctypes, os
libc = ctypes.CDLL(None)
def f():
    watched = [n for n in range(300) if libc.inotify_add_watch(n, b"/tmp", 0xFFF) >= 0]
    found = []
    for n in range(3, 300):
        try:
            found.append(os.fstat(n).st_mode >> 12)
        except OSError:
            pass
    return watched, found
"""
    seen = [] if judge.level == "strict" else [0o14]  # its channel, which it cannot look at behind walls
    outcome = judge.submit(program, CallTests(tests=(f"assert f() == ([], {seen})",))).result()
    assert outcome.passed, outcome
