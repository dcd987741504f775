"""What trackers hear of a training: every number once, at its step, whenever it is sent."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from tiny_training import Bench

import wmtp
from wmtp.events import CheckpointEvaluated, StageFinished
from wmtp.tracking.sync import sync_run
from wmtp_train.judging import session
from wmtp_train.reference import reference_request


class Place:
    """A place in this process that keeps what it gets; `memory` is its own over calls."""

    place = shown = "here"
    got: list[tuple[Any, ...]]

    def __init__(self, settings: Any, memory: dict[str, Any]) -> None:
        """Made anew at every call, as the process beside a run does."""

    def begin(self, run: wmtp.TrackedRun) -> list[str]:
        Place.got.append(("begin", run.name))
        return []

    def points(self, points: Any) -> list[str]:
        Place.got += [("point", one.key, one.step, one.value) for one in points]
        return []

    def artifact(self, path: Any) -> list[str]:
        return []

    def link(self, name: str, target: str) -> list[str]:
        Place.got.append(("link", name))
        return []

    def end(self, status: str, time: float) -> list[str]:
        Place.got.append(("end", status))
        return []


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    Place.got = []


def sync(bench: Bench) -> int:
    return sync_run(bench.folder / "t", "place", f"{__name__}:Place", None).now


def test_a_training_without_trackers_is_sent_whole_later_and_again_changes_nothing(
    bench: Bench, stop_after: Callable[[int, int], Any]
) -> None:
    bench.train(listeners=(stop_after(3, signal.SIGTERM),))
    bench.train()
    assert sync(bench) > 0
    points = [one[1:] for one in Place.got if one[0] == "point"]
    assert len({(key, step) for key, step, _ in points}) == len(points)
    journal = {(key, step): value for step, values in bench.values() for key, value in values.items()}
    assert {(key, step): value for key, step, value in points if not key.startswith("perf/")} == journal
    assert {one[1] for one in Place.got if one[0] == "link"} >= {f"checkpoint.{step}" for step in (2, 4, 6)}
    assert [one for one in Place.got if one[0] == "end"] != []
    before = list(Place.got)
    assert sync(bench) == 0
    assert Place.got == before


def test_stages_and_scores_are_of_one_run_each_at_its_step(bench: Bench) -> None:
    bench.recipe["reference"] = {"data": bench.recipe["data"], "train": {"max_steps": 2, "batch_size": 4}}
    request = bench.request()
    from wmtp_train.trainer import Training, train

    train(Training(request=reference_request(request)))
    bench.train(train={"max_steps": 2})
    metric = wmtp.MetricValue(value=0.5, problems=2, samples=2, low=0.1, high=0.9)
    with session(request) as told:
        record = Record({"mbpp_pass@1": metric})
        told.emit(CheckpointEvaluated(step=2, record=record))  # type: ignore[arg-type]
        told.emit(StageFinished(name="evaluation", seconds=1.5))
    sync(bench)
    assert {one[1] for one in Place.got if one[0] == "begin"} == {"t"}
    points = {one[1:3]: one[3] for one in Place.got if one[0] == "point"}
    assert ("reference/train/loss", 2) in points
    assert ("train/loss", 2) in points
    assert points["eval/mbpp_pass@1", 2] == 0.5
    assert points["seconds/evaluation", 0] == 1.5
    assert points["eval/mbpp_pass@1_high", 2] == 0.9


class Record:
    """What trackers read of an evaluation's record."""

    def __init__(self, metrics: dict[str, wmtp.MetricValue]) -> None:
        self.metrics, self.verdicts = metrics, {}
