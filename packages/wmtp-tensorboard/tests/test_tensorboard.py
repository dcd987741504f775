"""TensorBoard's own reader reads what the tracker wrote."""

from __future__ import annotations

import math
import types
from pathlib import Path
from typing import Any

import pytest

import wmtp
import wmtp_tensorboard.plugin
from wmtp.testing import TrackerContract
from wmtp_tensorboard.plugin import TensorBoardSettings
from wmtp_tensorboard.tracker import TensorBoardTracker

NUMBERS = [("loss", 1.5, 1), ("loss", math.nan, 2), ("loss", math.inf, 3), ("eval/mbpp_pass@1", 0.25, 3)]
POINTS = [wmtp.Point(key=key, value=value, step=step, time=1e9 + step) for key, value, step in NUMBERS]


class TestContract(TrackerContract):
    plugin: types.ModuleType = wmtp_tensorboard.plugin
    tracker = "tensorboard"

    def settings(self, folder: Path) -> dict[str, Any]:
        return {"folder": str(folder / "board")}


@pytest.fixture
def settings(tmp_path: Path) -> TensorBoardSettings:
    return TensorBoardSettings(folder=str(tmp_path / "board"))


def run(name: str = "run") -> wmtp.TrackedRun:
    return wmtp.TrackedRun(name=name, kind="training", folder="/runs/run", time=1e9, params={"seed": "7"})


def scalars(settings: TensorBoardSettings, name: str = "run") -> dict[str, list[tuple[int, float, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(f"{settings.folder}/{name}")
    read.Reload()
    return {tag: [(e.step, e.value, e.wall_time) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_numbers_arrive_with_their_steps_and_times_and_infinities_as_themselves(settings: TensorBoardSettings) -> None:
    tracker = TensorBoardTracker(settings, {})
    tracker.begin(run())
    assert tracker.points(POINTS) == []
    read = scalars(settings)
    assert read["eval/mbpp_pass@1"] == [(3, 0.25, 1e9 + 3)]
    (one, nan, inf) = read["loss"]
    assert (one, inf) == ((1, 1.5, 1e9 + 1), (3, math.inf, 1e9 + 3))
    assert math.isnan(nan[1])


def test_what_a_killed_process_wrote_and_did_not_note_is_there_once(settings: TensorBoardSettings) -> None:
    memory: dict[str, Any] = {}
    tracker = TensorBoardTracker(settings, memory)
    tracker.begin(run())
    noted = dict(memory)
    tracker.points(POINTS)
    TensorBoardTracker(settings, noted).points(POINTS)
    assert {tag: len(found) for tag, found in scalars(settings).items()} == {"loss": 3, "eval/mbpp_pass@1": 1}


def test_a_number_that_32_bits_would_make_infinite_is_refused_by_name(settings: TensorBoardSettings) -> None:
    tracker = TensorBoardTracker(settings, {})
    tracker.begin(run())
    (refused,) = tracker.points([wmtp.Point(key="grad", value=1e200, step=4, time=1.0)])
    assert "grad at step 4 is 1e+200" in refused
    assert "grad" not in scalars(settings)


def test_a_file_that_was_removed_is_not_filled_with_nothing(settings: TensorBoardSettings) -> None:
    memory: dict[str, Any] = {}
    tracker = TensorBoardTracker(settings, memory)
    tracker.begin(run())
    (Path(settings.folder) / memory["file"]).unlink()
    with pytest.raises(wmtp.ConfigError, match="has lost what was written"):
        tracker.points(POINTS)


def test_a_remote_folder_is_refused() -> None:
    with pytest.raises(wmtp.ConfigError, match=r"tracking\.tensorboard\.folder.*no folder of this machine"):
        wmtp.load_config(
            {"tracking": {"tensorboard": {"folder": "s3://bucket/board"}}}, plugins=wmtp.create_plugin_manager()
        )
