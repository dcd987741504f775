"""Events reach every listener, and no listener costs the run anything."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from wmtp.events import Emitter, StepLogged


class Hearing:
    def __init__(self, seconds: float = 0.0) -> None:
        self.heard: list[Any] = []
        self.closed = 0
        self._seconds = seconds

    def handle(self, event: Any) -> None:
        time.sleep(self._seconds)
        self.heard.append(event)

    def close(self) -> None:
        self.closed += 1


class Raising(Hearing):
    def handle(self, event: Any) -> None:
        super().handle(event)
        raise ValueError("no")


def _steps(count: int) -> list[StepLogged]:
    return [StepLogged(step=i, values={"loss": 1.0}) for i in range(count)]


def test_a_slow_listener_delays_no_emit_and_loses_nothing_at_the_end() -> None:
    slow, quick, steps = Hearing(0.01), Hearing(), _steps(100)
    emitter = Emitter([("slow", slow), ("quick", quick)])
    began = time.monotonic()
    for step in steps:
        emitter.emit(step)
    assert time.monotonic() - began < 0.2, "putting events must not wait for 100 × 0.01 s"
    emitter.close()
    assert slow.heard == quick.heard == steps
    assert (slow.closed, quick.closed) == (1, 1)
    emitter.close()
    assert slow.closed == 1


def test_a_listener_that_raises_is_reported_once_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    raising, other = Raising(), Hearing()
    with caplog.at_level(logging.WARNING, "wmtp"), Emitter([("bad", raising), ("good", other)]) as emitter:
        for step in _steps(5):
            emitter.emit(step)
    assert len(raising.heard) == 1
    assert len(other.heard) == 5
    assert [r.getMessage() for r in caplog.records] == ["listener bad failed and is left out: ValueError('no')"]


def test_a_listener_that_is_stuck_is_left_and_what_it_did_not_hear_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()

    class Stuck(Hearing):
        def handle(self, event: Any) -> None:
            gate.wait(30)

    emitter = Emitter([("stuck", Stuck())], stuck_after_s=0.2)
    for step in _steps(4):
        emitter.emit(step)
    with caplog.at_level(logging.WARNING, "wmtp"):
        began = time.monotonic()
        emitter.close()
    gate.set()
    assert time.monotonic() - began < 5
    assert "listener stuck is stuck and is left; events it has not heard: 3" in caplog.text
