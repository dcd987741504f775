"""Leaving the judge by an exception (ctrl-C) ends its programs; leaving it in peace waits for them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Literal

import pytest

from wmtp import CallTests, Outcome
from wmtp.judging import open_judge

TESTS = CallTests(tests=("assert f() == 1",))
ENDLESS = "while True:\n    pass\n"


def _interrupted(level: Literal["strict", "process"], futures: list[Future[Outcome]]) -> None:
    with open_judge(level=level, workers=1) as judge:
        futures += [judge.submit(ENDLESS, TESTS), judge.submit(ENDLESS, TESTS)]
        raise KeyboardInterrupt


@pytest.mark.parametrize("level", ["strict", "process"])
def test_an_interrupt_waits_for_no_program(level: Literal["strict", "process"]) -> None:
    futures: list[Future[Outcome]] = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted(level, futures)
    # Had the first run to its end, it would have been a timeout; the second had not begun.
    assert all(future.cancelled() or future.result(0).status == "infrastructure" for future in futures)


def test_a_quiet_end_waits_for_what_runs() -> None:
    with open_judge(level="process", workers=1) as judge:
        future = judge.submit("import time\ntime.sleep(0.2)\ndef f():\n    return 1\n", TESTS)
        while not future.running():
            pass
    assert future.result(0).status == "passed"
