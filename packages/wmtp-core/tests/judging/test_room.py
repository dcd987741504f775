"""Whoever hands in programs waits until many places are free, and not for each."""

from __future__ import annotations

import threading
import time

from wmtp.judging.host.room import Room


def test_whoever_waits_is_woken_once_half_of_the_places_are_free() -> None:
    room, entered = Room(4), threading.Event()
    for _ in range(4):
        room.enter()

    def enter() -> None:
        room.enter()
        entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    while not room.waiting:
        time.sleep(0.001)
    room.leave()
    assert room.waiting and not entered.is_set()  # noqa: PT018
    room.leave()
    assert entered.wait(60)
    thread.join()
    room.enter()  # three are taken


def test_all_that_wait_get_a_place_in_the_end() -> None:
    room = Room(2)
    threads = [threading.Thread(target=room.enter) for _ in range(9)]
    for thread in threads:
        thread.start()
    for _ in range(7):
        while not room.taken:
            time.sleep(0.001)
        room.leave()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
