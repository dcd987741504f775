"""What a judge's processes put into the system's folder for temporary files is gone after them, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wmtp import CallTests
from wmtp.judging.host import scratch
from wmtp.judging.judge import SandboxJudge

PROGRAM = "import os, time; os.makedirs('a/b'); open('a/b/c', 'w'); os.chmod('a', 0); time.sleep(60)"
LEAVING = f"""
import time
from wmtp import CallTests
from wmtp.judging import open_judge
open_judge(level="process", workers=1).submit({PROGRAM!r}, CallTests(tests=("assert f() == 1",)))
time.sleep(1)
print("there", flush=True)
time.sleep(60)
"""


def folders(temporary: Path) -> list[Path]:
    return sorted(temporary.glob("wmtp-*"))


def test_the_next_judge_removes_what_a_killed_one_left_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_judge: Callable[..., SandboxJudge]
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", LEAVING], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGKILL)
    left = folders(tmp_path)
    assert len(left) == 1
    others = [tmp_path / "mine", tmp_path / f"{scratch.PREFIX}file", tmp_path / f"{scratch.PREFIX}link"]
    others[0].mkdir()
    others[1].write_text("no folder")
    others[2].symlink_to(others[0])

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held = scratch.Scratch()
    monkeypatch.setattr(scratch, "SETTLED_SECONDS", -1.0)
    scratch._remove_left_ones.cache_clear()
    with start_judge("process", workers=1) as judge:
        assert judge.submit("def f(): return 1", CallTests(tests=("assert f() == 1",))).result().passed
        assert Path(held.path).is_dir(), "somebody has it"
        assert not left[0].exists()
    held.remove()
    held.remove()
    assert folders(tmp_path) == sorted(others[1:])
    assert others[0].is_dir()


def test_one_that_was_just_made_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes it has not locked it yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fresh = tmp_path / f"{scratch.PREFIX}fresh"
    fresh.mkdir()
    scratch._remove_left_ones.cache_clear()
    scratch.Scratch().remove()
    assert fresh.is_dir()
    monkeypatch.setattr(time, "time", lambda: time.clock_gettime(time.CLOCK_REALTIME) + 2 * scratch.SETTLED_SECONDS)
    scratch._remove_left_ones.cache_clear()
    scratch.Scratch().remove()
    assert not fresh.exists()
