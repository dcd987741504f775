"""Judging gives way to whoever asks a model: with what is left of the processors, and to the same verdicts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from wmtp import CallTests
from wmtp.contracts.judging import GivesWay
from wmtp.judging.host import interpreter_lock
from wmtp.judging.host.interpreter_lock import wait_for_a_lull
from wmtp.judging.host.pair import Pair
from wmtp.judging.judge import SandboxJudge
from wmtp.judging.sandbox import process_tree

PROGRAMS = {"passed": "def f(): return 1", "failed": "def f(): return 2", "error": "def f(): return 1 / 0"}
TESTS = CallTests(tests=("assert f() == 1",))


def policies(judge: SandboxJudge) -> set[int]:
    found = set()
    for pair in judge._pairs:
        for process in pair._processes:
            below = process_tree.descendants(process.pid)
            found |= {os.sched_getscheduler(pid) for pid in (process.pid, *below)}
    return found


def statuses(judge: SandboxJudge) -> list[str]:
    return [future.result().status for future in [judge.submit(code, TESTS) for code in PROGRAMS.values()]]


@pytest.mark.skipif(os.sched_getscheduler(0) != os.SCHED_OTHER, reason="we run under another policy ourselves")
@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "not allowed"])
def test_while_it_gives_way_its_processes_are_idle_ones_and_afterwards_none_is(
    start_judge: Callable[..., SandboxJudge], monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    """Without the right to come forward, a fresh pair takes the place of one that fell behind."""
    if not allowed:
        schedule = Pair._schedule
        monkeypatch.setattr(Pair, "_schedule", lambda self, to: to == os.SCHED_IDLE and schedule(self, to))
    with start_judge("strict", workers=1) as judge:
        assert isinstance(judge, GivesWay)
        before = set(judge._pairs)
        judge.give_way(True)
        assert policies(judge) == {os.SCHED_IDLE}
        assert statuses(judge) == list(PROGRAMS)
        assert policies(judge) == {os.SCHED_IDLE}
        judge.give_way(False)
        assert statuses(judge) == list(PROGRAMS)
        assert policies(judge) == {os.SCHED_OTHER}
        assert (judge._pairs == before) is allowed


def test_where_waiting_cannot_be_seen_it_does_not_give_way(process: SandboxJudge, monkeypatch: Any) -> None:
    monkeypatch.setattr("wmtp.judging.host.watch.can_see_waiting", lambda: False)
    process.give_way(True)
    assert policies(process) == {os.sched_getscheduler(0)}


@contextmanager
def busy_interpreter() -> Iterator[None]:
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_it_waits_for_whoever_has_the_interpreters_lock_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with busy_interpreter():  # which a busy machine may keep from a processor, and nobody wants the lock meanwhile
        assert any(interpreter_lock.is_wanted() for _ in range(200))
    wait_for_a_lull(lambda: True, longest=1e9)
    monkeypatch.setattr(interpreter_lock, "is_wanted", lambda: True)
    started = time.monotonic()
    wait_for_a_lull(lambda: True, longest=0.2)
    assert time.monotonic() - started >= 0.2
    wait_for_a_lull(lambda: False, longest=1e9)


def test_programs_are_judged_beside_an_interpreter_that_never_rests(
    start_judge: Callable[..., SandboxJudge], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking waits for verdicts in its own turn (`sampling.until`), so one that never comes would stop the run."""
    asked: list[bool] = []

    def lull(still: Callable[[], bool]) -> None:
        asked.append(still())
        wait_for_a_lull(still, longest=0.01)

    monkeypatch.setattr("wmtp.judging.host.interpreter_lock.wait_for_a_lull", lull)
    with start_judge("strict", workers=1) as judge:
        assert statuses(judge) == list(PROGRAMS)
        assert not asked
        judge.give_way(True)
        with busy_interpreter():
            assert statuses(judge) == list(PROGRAMS)
        assert asked == [True] * 3
