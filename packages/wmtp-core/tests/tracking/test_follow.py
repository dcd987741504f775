"""Followers of a journal: whatever fails and wherever it is killed, a place gets everything once, in order."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wmtp import Point, TrackedRun
from wmtp.errors import ConfigError
from wmtp.events import CheckpointSaved, Emitter, RunFinished, RunStarted, StepLogged
from wmtp.tracking.beside import Beside
from wmtp.tracking.follow import Order, follow, held, state_of
from wmtp.tracking.journal import Ended, Journal, Link, Numbers
from wmtp.tracking.listener import JournalListener
from wmtp.tracking.sync import sync_run

TARGET = "place_of_a_test:Place"
MODULE = '''
import json, os, time
from pathlib import Path

class Place:
    """A folder: got.jsonl is what it got. away: it does not answer while that file is there. slow: seconds a call."""

    def __init__(self, settings, memory):
        self.folder, self.memory, self.slow = Path(settings["folder"]), memory, settings.get("slow", 0)
        self.place = str(self.folder) + settings.get("name", "")
        memory.setdefault("calls", 0)

    shown = "somewhere"

    def _got(self, *what):
        time.sleep(self.slow)
        if (self.folder / "away").exists():
            raise ConnectionError("nobody answers")
        self.memory["calls"] += 1
        with open(self.folder / "got.jsonl", "a") as file:
            file.write("".join(json.dumps(w) + "\\n" for w in what))
        return []

    def begin(self, run): return self._got(["begin", run.name])
    def points(self, points): return self._got(*(["point", p.key, p.step, p.value, p.time] for p in points))
    def artifact(self, path): return self._got(["artifact", path.name])
    def link(self, name, target): return self._got(["link", name, target])
    def end(self, status, time): return self._got(["end", status])
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a tracker in another process can be sent to."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/place_of_a_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    sys.modules.pop("place_of_a_test", None)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def got(place: Path) -> list[list[Any]]:
    path = place / "got.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def order(run: Path, place: Path, **settings: Any) -> Order:
    return Order(tracker="toy", target=TARGET, settings={"folder": str(place), **settings}, folder=run)


def wait_for(condition: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


def write(run: Path, *found: Any) -> None:
    journal = Journal(run)
    for entry in found:
        journal.add(entry)
    journal.close()


STEPS = [Numbers(values={"loss": float(s)}, step=s, time=100.0 + s) for s in range(20)]
BEGUN = TrackedRun(name="run", kind="training", folder="/run", time=1.0)


def test_a_run_tells_its_tracker_everything_while_it_goes_on_and_at_its_end(run: Path, place: Path) -> None:
    follower = Beside("toy", TARGET, {"folder": str(place)}, run)
    started = RunStarted(name="run", kind="training", folder=run)
    with Emitter([("journal", JournalListener(run, [follower]))]) as emitter:
        emitter.emit(started)
        for step in range(5):
            emitter.emit(StepLogged(step=step, values={"loss": 1.0 / (step + 1)}, time=50.0 + step))
        wait_for(lambda: len(got(place)) == 6)
        emitter.emit(CheckpointSaved(step=4, path=Path("/c/step-4")))
        emitter.emit(RunFinished(name="run", kind="training", folder=run))
    heard = got(place)
    assert [h[0] for h in heard] == ["begin", *["point"] * 5, "link", "end"]
    assert heard[3] == ["point", "loss", 2, 1 / 3, 52.0], "a number carries the time at which it came to be"
    assert heard[-1] == ["end", "finished"]


def test_a_place_that_is_away_costs_nothing_and_gets_all_when_it_is_back(
    run: Path, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "away").touch()
    began = time.monotonic()
    with (
        caplog.at_level(logging.WARNING, "wmtp.tracking"),
        Emitter([("journal", JournalListener(run, [Beside("toy", TARGET, {"folder": str(place)}, run)]))]) as emitter,
    ):
        emitter.emit(RunStarted(name="run", kind="training", folder=run))
        for step in range(1000):
            emitter.emit(StepLogged(step=step, values={"loss": 1.0}))
        emitter.emit(RunFinished(name="run", kind="training", folder=run))
    assert time.monotonic() - began < 25
    (line,) = caplog.messages
    assert "nobody answers" in line
    assert f"`wmtp track sync {run}` sends it" in line
    assert got(place) == []
    (place / "away").unlink()
    done = sync_run(run, "toy", TARGET, {"folder": str(place)})
    assert (done.now, done.all) == (1000, 1000)
    assert [h[2] for h in got(place) if h[0] == "point"] == list(range(1000))
    assert sync_run(run, "toy", TARGET, {"folder": str(place)}).now == 0
    assert got(place)[-1] == ["end", "finished"]


def test_a_place_that_comes_back_gets_all_while_the_run_goes_on(run: Path, place: Path) -> None:
    (place / "away").touch()
    write(run, BEGUN, *STEPS)
    over = False
    began = time.monotonic()

    def ended() -> bool:
        nonlocal over
        if state_of(run, "toy").get("error") and (place / "away").exists():
            (place / "away").unlink()
        over = over or len(got(place)) == 21 or time.monotonic() - began > 30
        return over

    assert follow(order(run, place), ended) == 0
    assert [h[2] for h in got(place) if h[0] == "point"] == list(range(20))


@pytest.mark.parametrize("kill_after", [0.0, 0.3, 0.8, 1.5])
def test_a_run_that_is_killed_leaves_a_tracker_that_ends_by_itself(run: Path, place: Path, kill_after: float) -> None:
    """kill -9 of the run: what it wrote arrives, the tracker says killed, and nothing is left running."""
    script = f"""
import time
from pathlib import Path
from wmtp.events import *
from wmtp.tracking.beside import Beside
from wmtp.tracking.listener import JournalListener
run = Path({str(run)!r})
emitter = Emitter([("journal", JournalListener(run, [Beside("toy", {TARGET!r}, {{"folder": {str(place)!r}}}, run)]))])
emitter.emit(RunStarted(name="run", kind="training", folder=run))
print("begun", flush=True)
for step in range(10**6):
    emitter.emit(StepLogged(step=step, values={{"loss": 1.0}}))
    time.sleep(0.01)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    wait_for(lambda: got(place))
    time.sleep(kill_after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: got(place)[-1][0] == "end")
    heard = got(place)
    steps = [h[2] for h in heard if h[0] == "point"]
    assert heard[-1] == ["end", "killed"]
    assert steps == list(range(len(steps)))
    done = sync_run(run, "toy", TARGET, {"folder": str(place)})
    assert done.all == len(steps)


def test_killed_at_any_call_the_next_process_begins_where_it_was_noted(run: Path, place: Path) -> None:
    """The note is behind the call, so a call may come twice, and never not at all."""
    write(run, BEGUN, *STEPS, Link(name="c", target="t"), Ended(status="finished", time=2.0))
    script = (
        "import sys, pickle; from wmtp.tracking.follow import follow; print('go', flush=True); "
        "follow(pickle.load(sys.stdin.buffer), lambda: False)"
    )

    for delay in (0.0, 0.15, 0.3, 0.45):
        process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        process.stdin.write(pickle.dumps(order(run, place, slow=0.1)))
        process.stdin.close()
        time.sleep(delay)
        process.kill()
        process.wait()
    sync_run(run, "toy", TARGET, {"folder": str(place)})
    heard = [tuple(h) for h in got(place)]
    expected = [("begin", "run"), *(("point", "loss", s, float(s), 100.0 + s) for s in range(20)), ("link", "c", "t")]
    assert list(dict.fromkeys(heard)) == [*expected, ("end", "finished")]


def test_another_place_gets_all_from_the_beginning(run: Path, place: Path, tmp_path: Path) -> None:
    write(run, BEGUN, *STEPS)
    assert sync_run(run, "toy", TARGET, {"folder": str(place)}).now == 20
    other = tmp_path / "other"
    other.mkdir()
    assert sync_run(run, "toy", TARGET, {"folder": str(other)}).now == 20
    assert len(got(other)) == 21


def test_two_at_once_are_refused_with_a_sentence(run: Path, place: Path) -> None:
    write(run, BEGUN)
    with held(run, "toy"), pytest.raises(ConfigError, match="wait for its run"):
        sync_run(run, "toy", TARGET, {"folder": str(place)})


def test_what_can_never_be_sent_stops_the_tracker_and_is_said(
    run: Path, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, "wmtp.tracking"),
        Emitter([("journal", JournalListener(run, [Beside("toy", "no_such_module:Place", {}, run)]))]) as emitter,
    ):
        emitter.emit(RunStarted(name="run", kind="training", folder=run))
        emitter.emit(RunFinished(name="run", kind="training", folder=run))
    (line,) = caplog.messages
    assert "toy.log" in line
    assert "no_such_module" in (run / "tracking/toy.log").read_text()


def test_points_know_their_own_time() -> None:
    numbers = Numbers(values={"a": 1.0, "b": 2.0}, step=4, time=9.0)
    points: Sequence[Point] = numbers.points()
    assert points == [Point(key="a", value=1.0, step=4, time=9.0), Point(key="b", value=2.0, step=4, time=9.0)]
