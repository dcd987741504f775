"""The judge of a run is opened beside what else a run begins with, once, and never outlives it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import wmtp
from wmtp.evaluation.judge import LazyJudge


class Opened:
    """A judge that says when it was closed."""

    def __init__(self) -> None:
        self.identity = {"judge": "opened"}
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_it_is_opened_once_however_it_is_asked() -> None:
    opened: list[Any] = []
    go_on = threading.Event()

    def opener() -> Any:
        assert go_on.wait(60)
        opened.append(Opened())
        return opened[-1]

    judge = LazyJudge(opener)
    judge.begin()
    judge.begin()
    go_on.set()
    assert judge.identity == {"judge": "opened"}
    judge.close()
    assert [one.closed for one in opened] == [1]


def test_one_that_is_closed_before_it_was_opened_is_not_opened_later() -> None:
    judge = LazyJudge(lambda: pytest.fail("opened"))
    judge.close()
    judge.begin()
    judge.close()
    assert judge.opened is None


def test_what_keeps_it_from_opening_is_told_to_whoever_needs_it_and_to_nobody_else() -> None:
    def opener() -> Any:
        raise wmtp.JudgeError("no walls here")

    judge = LazyJudge(opener)
    judge.begin()
    for _ in range(2):
        with pytest.raises(wmtp.JudgeError, match="no walls"):
            judge.identity  # noqa: B018
    judge.close()
