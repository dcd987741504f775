"""What a run does to the interpreter's collector is undone behind it, however it ends."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import wmtp
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


def test_what_somebody_else_froze_stays_frozen(evaluate: Evaluate, write_files: Callable[..., None]) -> None:
    write_files(problems=2)
    gc.freeze()
    evaluate()
    assert gc.get_freeze_count() > 0
