"""What a run does to the interpreter's collector is undone behind it, however it ends."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.evaluation.garbage import RARELY
from wmtp.testing import FakeEngine, engine_plugin

Evaluate = Callable[..., wmtp.Results]


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Whatever a test leaves frozen belongs to no other."""
    assert gc.get_freeze_count() == 0, "an earlier test left the collector frozen"
    yield
    gc.unfreeze()


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_run_froze_is_thawed_behind_it(
    fails: bool, evaluate: Evaluate, write_files: Callable[..., None]
) -> None:
    seen: list[int] = []

    class Looks(FakeEngine):
        def generate(self, *arguments: Any, **options: Any) -> Iterator[wmtp.Completion]:
            seen.append(gc.get_freeze_count())
            if fails:
                raise wmtp.GenerationError("gone")
            return super().generate(*arguments, **options)

    write_files(problems=2, model={"base_id": "fake:"})
    engine = Looks(lambda request: request.reference or "")
    plugins = wmtp.create_plugin_manager(plugins=[engine_plugin(engine, "fake:")])
    enabled = gc.isenabled()
    if fails:
        with pytest.raises(wmtp.GenerationError, match="gone"):
            evaluate(plugins=plugins)
    else:
        evaluate(plugins=plugins)
    assert seen
    assert seen[0] > 0, "it was frozen meanwhile"
    assert (gc.get_freeze_count(), gc.isenabled()) == (0, enabled)


@pytest.mark.parametrize("replays", [True, False])
def test_only_what_a_run_that_replays_keeps_is_looked_through_rarely(
    replays: bool, tmp_path: Path, evaluate: Evaluate, write_files: Callable[..., None]
) -> None:
    """What a model leaves may be tensors."""
    rows = [{"task_id": i, "completion": f"def add_{i}(x):\n    return x + {i}\n"} for i in (11, 12)]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_files(problems=2, model={"base_id": f"samples:{tmp_path / 'samples.jsonl'}" if replays else "fake:"})
    engine = FakeEngine(lambda request: request.reference or "")
    plugins = wmtp.create_plugin_manager(plugins=[engine_plugin(engine, "fake:")])
    often, seen = gc.get_threshold(), set[int]()
    evaluate(plugins=plugins, progress=lambda who, kind, count: seen.add(gc.get_threshold()[0]))
    assert seen == {RARELY if replays else often[0]}
    assert gc.get_threshold() == often


def test_what_somebody_else_froze_stays_frozen(evaluate: Evaluate, write_files: Callable[..., None]) -> None:
    write_files(problems=2)
    gc.freeze()
    evaluate()
    assert gc.get_freeze_count() > 0
