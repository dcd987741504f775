"""The hook implementations of wmtp-tensorboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

import wmtp


def _absolute(path: Any) -> Any:
    return str(Path(path).expanduser().absolute()) if isinstance(path, str) else path


def _not_remote(instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if "://" in value:
        raise ValueError(f"{value!r} is no folder of this machine; event files are written there and appended to")


@attrs.frozen(kw_only=True)
class TensorBoardSettings:
    """Where event files are.

    Attributes:
        folder: The folder that ``tensorboard --logdir`` is given; a run has a folder of its name in it.
    """

    folder: str = attrs.field(default="tensorboard", converter=_absolute, validator=_not_remote)


@wmtp.hookimpl
def wmtp_trackers() -> list[wmtp.TrackerSpec]:
    return [
        wmtp.TrackerSpec(
            name="tensorboard",
            summary="event files for TensorBoard",
            settings=TensorBoardSettings,
            target="wmtp_tensorboard.tracker:TensorBoardTracker",
        )
    ]
