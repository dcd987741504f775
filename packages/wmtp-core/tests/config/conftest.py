"""A plugin manager with one storage, one benchmark and its data set, none of them installed."""

from __future__ import annotations

import pytest

from wmtp.plugins import create_plugin_manager

SOURCE = """
import enum
from pathlib import Path

import attrs
import wmtp


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Retry:
    attempts: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    statuses: tuple[int, ...] = (500,)


@attrs.frozen
class ShelfSettings:
    '''Where the shelf is.'''
    bucket: str
    region: str | None = None
    path_style: bool = False
    timeout: float = 60.0
    key_file: Path | None = None
    colour: Colour = Colour.RED
    labels: dict[str, int] = attrs.field(factory=dict)
    span: tuple[int, int] = (0, 1)
    retry: Retry = Retry()


@attrs.frozen
class PuzzleSettings:
    split: str = "test"
    shots: int = attrs.field(default=0, validator=attrs.validators.ge(0))


@attrs.frozen
class HardSettings:
    level: int


@wmtp.hookimpl
def wmtp_storages():
    return [wmtp.StorageSpec(mode="shelf", summary="a shelf", schemes=("shelf",), settings=ShelfSettings, open=print)]


@wmtp.hookimpl
def wmtp_datasets():
    return [wmtp.DatasetSpec(name="puzzles", summary="puzzles", load=print)]


@wmtp.hookimpl
def wmtp_evaluators():
    return [
        wmtp.EvaluatorSpec(
            id="puzzles-v1", summary="puzzles", metrics=("puzzles_exact", "puzzles_pass@{k}"), dataset="puzzles",
            settings=PuzzleSettings,
        ),
        wmtp.EvaluatorSpec(
            id="hard-v1", summary="hard ones", metrics=("hard_exact",), dataset="puzzles", settings=HardSettings
        ),
        wmtp.EvaluatorSpec(id="plain-v1", summary="no settings", metrics=("plain_exact",), dataset="puzzles"),
    ]


@wmtp.hookimpl
def wmtp_evaluate(task):
    return None
"""


@pytest.fixture(scope="session")
def plugins():
    import types

    module = types.ModuleType("wmtp-shelf")
    module.__version__ = "1.0"
    exec(compile(SOURCE, "wmtp-shelf", "exec", dont_inherit=True), vars(module))  # its annotations are types
    manager = create_plugin_manager(plugins=[module], entry_points=False)
    assert [i.state for i in manager.listing()] == ["loaded", "loaded"]
    return manager


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write(name, text)``: a file in the current folder; messages then name it without its path."""
    monkeypatch.chdir(tmp_path)

    def to(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return to
