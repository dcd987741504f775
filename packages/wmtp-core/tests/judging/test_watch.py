"""What a program loses to others' load is taken off its clock, and what it sleeps is not; by a clock of the test's own."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from wmtp.judging.host.watch import Watch
from wmtp.judging.sandbox import process_tree
from wmtp.judging.sandbox.process_tree import Times

ZYGOTE, CHECKER, PROGRAM = 1, 2, 3
LOOK = 0.05
World = dict[str, dict[int, Times]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The program's threads as /proc would tell them; nobody else waits for anything."""
    threads: World = {"now": {}}
    monkeypatch.setattr(process_tree, "threads", lambda pid: dict(threads["now"]) if pid == PROGRAM else {})
    monkeypatch.setattr(process_tree, "descendants", lambda pid: [PROGRAM])
    monkeypatch.setattr(process_tree, "stolen_seconds", lambda processor: 0.0)
    monkeypatch.setattr(process_tree, "cpu_seconds", lambda pid: 0.0)
    monkeypatch.setattr(process_tree, "private_bytes", lambda pid: 0)
    monkeypatch.setattr(process_tree, "sockets", lambda pid: set())
    return threads


def _fair(
    world: World, monkeypatch: pytest.MonkeyPatch, looks: list[Mapping[int, Times]], paused: float = 0.0
) -> float:
    """Seconds that count against a program whose threads use and wait, between looks 50 ms apart, what `looks` say; before the
    last look nothing ran for `paused` seconds."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    watch = Watch(ZYGOTE, CHECKER, 0, strict=False)
    for number, look in enumerate(looks, 1):
        clock[0] += LOOK + paused * (number == len(looks))
        for thread, times in look.items():
            had = world["now"].get(thread, Times(0.0, 0.0))
            world["now"][thread] = Times(had.cpu + times.cpu, had.waited + times.waited)
        assert watch.look(wall=1e6, cpu=1e6, memory_mib=1024, processes=64) == ""
    return watch._fair_seconds()


def test_one_thread_that_waits_is_told_what_it_computed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [{1: Times(0.01, 0.04)}] * 100
    assert _fair(world, monkeypatch, looks) == pytest.approx(1.0)


def test_threads_that_take_turns_lose_what_each_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # One interpreter's lock: while one thread waits for the processor, the others sleep.
    looks = [{turn % 4: Times(0.01, 0.04)} for turn in range(100)]
    assert _fair(world, monkeypatch, looks) == pytest.approx(1.0)


def test_threads_that_wait_at_once_lose_no_more_than_went_by(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [{thread: Times(0.0025, 0.0475) for thread in range(4)}] * 100
    assert _fair(world, monkeypatch, looks) == pytest.approx(1.0)


def test_threads_that_wait_for_one_another_alone_lose_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [{thread: Times(0.0125, 0.0375) for thread in range(4)}] * 100
    assert _fair(world, monkeypatch, looks) == pytest.approx(5.0)


def test_what_is_slept_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [{1: Times(0.0, 0.0)}] * 100
    assert _fair(world, monkeypatch, looks) == pytest.approx(5.0)


def test_a_wait_that_is_told_late_counts_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [{1: Times(0.01, 0.19)} if turn % 4 == 3 else {1: Times(0.0, 0.0)} for turn in range(100)]
    assert _fair(world, monkeypatch, looks) == pytest.approx(0.25)


def test_a_judge_that_was_paused_with_its_program_holds_nothing_against_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [{1: Times(0.05, 0.0)}] * 20
    assert _fair(world, monkeypatch, looks, paused=3600.0) < 1 + 1.1  # a second of it cannot be told from a late look


def test_a_look_that_comes_late_while_the_program_waits_counts_its_wait_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [*([{1: Times(0.05, 0.0)}] * 20), {1: Times(0.05, 30.0)}]
    assert _fair(world, monkeypatch, looks, paused=30.0) == pytest.approx(1.05)
