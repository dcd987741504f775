"""Whoever hands in programs waits until many places are free, and not for each."""

from __future__ import annotations

import threading
import time

import pytest

from wmtp.judging.host.backlog import Backlog


def put_elsewhere(backlog: Backlog[int], number: int) -> threading.Thread:
    thread = threading.Thread(target=backlog.put, args=(number,))
    thread.start()
    while not backlog.waiting:
        time.sleep(0.001)
    return thread


def test_whoever_waits_is_woken_once_half_of_the_places_are_free() -> None:
    backlog = Backlog[int](4, workers=1)
    assert [backlog.put(number) for number in range(4)] == [True, False, False, False]
    thread = put_elsewhere(backlog, 4)
    assert [backlog.take(done) for done in (0, 1)] == [0, 1]
    assert (backlog.waiting, backlog.taken) == (1, 3)
    assert backlog.take(1) == 2
    thread.join(60)
    assert (backlog.waiting, backlog.taken) == (0, 3)
    assert [backlog.take(1) for _ in range(3)] == [3, 4, None]
    assert (backlog.taken, backlog.working) == (0, 0)


def test_a_worker_that_found_nothing_is_started_again() -> None:
    backlog = Backlog[int](4, workers=1)
    assert backlog.put(1)
    assert backlog.take(0) == 1
    assert not backlog.put(2)
    assert [backlog.take(1), backlog.take(1)] == [2, None]
    assert backlog.put(3)


def test_what_no_worker_can_begin_with_leaves_no_trace() -> None:
    backlog = Backlog[int](1, workers=1)
    backlog.put(1)
    backlog.take_back(1)
    assert (backlog.taken, backlog.working) == (0, 0)
    assert backlog.put(2)


def test_once_closed_whoever_waits_is_told() -> None:
    backlog, told = Backlog[int](1, workers=1), threading.Event()
    backlog.put(1)

    def wait() -> None:
        with pytest.raises(RuntimeError, match="closed"):
            backlog.put(2)
        told.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while not backlog.waiting:
        time.sleep(0.001)
    assert backlog.close(drop=True) == [1]
    thread.join(60)
    assert told.is_set()
    assert backlog.take(0) is None


def test_a_worker_takes_ahead_only_where_the_others_find_something_too() -> None:
    backlog = Backlog[int](8, workers=2)
    for number in range(4):
        backlog.put(number)
    assert [backlog.take(0), backlog.take(0)] == [0, 1]
    assert backlog.take_ahead(0, lambda number: number != 2) is None
    assert backlog.take_ahead(0, lambda number: True) == 2
    assert backlog.take_ahead(1, lambda number: True) is None, "the last one is for the other"
    assert (backlog.taken, backlog.working) == (3, 2)
    assert [backlog.take(1), backlog.take(1), backlog.take(1)] == [3, None, None]
    assert (backlog.taken, backlog.working) == (0, 0)
