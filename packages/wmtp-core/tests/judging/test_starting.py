"""A zygote that ends before it has served anything: the judge goes on without what killed it, or says what it was."""

from __future__ import annotations

import logging
import signal
import subprocess
from typing import Any

import pytest

from wmtp import CallTests
from wmtp.errors import JudgeError
from wmtp.judging import open_judge
from wmtp.judging.host import pair
from wmtp.judging.sandbox import memory_map

LEVELS = ("strict", "process")
RIGHT = CallTests(tests=("assert double(4) == 8",))


def killing(monkeypatch: pytest.MonkeyPatch, first: int) -> list[subprocess.Popen[bytes]]:
    """The zygotes that a kill meets as they start: so many, before others are left alone."""
    found: list[subprocess.Popen[bytes]] = []
    start = pair._interpreter

    def interpreter(module: str, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(module, *arguments, **options)
        if module.endswith("zygote") and len(found) < first:
            found.append(process)
            process.send_signal(signal.SIGKILL)
        return process

    monkeypatch.setattr(pair, "_interpreter", interpreter)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_a_zygote_that_crashes_as_it_starts_is_started_plainly(
    level: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed = killing(monkeypatch, first=1)
    with caplog.at_level(logging.WARNING, "wmtp"), open_judge(level=level, workers=1) as judge:
        right = judge.submit("def double(x):\n    return 2 * x\n", RIGHT).result()
        wrong = judge.submit("def double(x):\n    return x\n", RIGHT).result()
        (plain,) = judge._pairs
        areas = memory_map.read("smaps", process=str(plain._zygote))
    assert (right.status, wrong.status) == ("passed", "failed")
    assert len(killed) == 1
    assert "plainer zygote: the zygote ended while it started: Killed" in caplog.text
    assert not sum(area.huge for area in areas if area.file.startswith("/")), "its code is the file's"


@pytest.mark.parametrize("level", LEVELS)
def test_one_that_always_crashes_is_an_error_that_says_how(level: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = killing(monkeypatch, first=9)
    with pytest.raises(JudgeError, match="does not start: the zygote ended while it started: Killed"):
        open_judge(level=level, workers=1)
    assert len(killed) == 2


def test_an_exception_of_its_own_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "FILE_MIB", 1 << 60)  # bytes that no limit can say
    with pytest.raises(JudgeError, match="OverflowError"):
        open_judge(level="process", workers=1)
