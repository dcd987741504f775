"""What a tracker is given: the numbers of a run, with the times at which they came to be, out of the run's journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import attrs

Ending = Literal["finished", "failed", "killed"]


@attrs.frozen(kw_only=True)
class Point:
    """A number of a run.

    Attributes:
        key: Its name, as WMTP has it: ``eval/mbpp_pass@1``.
        value: Any float: NaN and infinities as well.
        step: Step of the training that it belongs to; 0 in an evaluation.
        time: When it came to be, in seconds since 1970. Sent again, it is the same time.
    """

    key: str
    value: float
    step: int
    time: float


@attrs.frozen(kw_only=True)
class TrackedRun:
    """What is known of a run when a session of it begins.

    Attributes:
        name: The run's.
        kind: ``evaluation`` or ``training``.
        folder: Its folder.
        time: When the session began.
        params: Settings by dotted name, as text, without places and credentials.
        tags: The recipe's ``run.tags``.
    """

    name: str
    kind: str
    folder: str
    time: float
    params: Mapping[str, str] = attrs.field(factory=dict)
    tags: tuple[str, ...] = ()


class Tracker(Protocol):
    """Sends a run's numbers to one place. It lives in a process beside the run, and may be slow.

    It is made with its settings and a dictionary of plain data that is its memory: what it puts there is kept in the run
    folder with the count of what has been sent, and given back after a restart. Whatever a method raises means: not now; it is
    called again with the same. A `wmtp.ConfigError` means: never. What the place does not take, once and for all, is what a
    method returns: lines for the user.

    A call may be repeated although it succeeded (the process was killed between the call and the note of it).

    Attributes:
        place: Where it sends to. Where it differs from the last time, all is sent from the beginning, with an empty memory.
        shown: Where a user sees the run: a URL, a command. ``""`` while unknown.
    """

    @property
    def place(self) -> str: ...

    @property
    def shown(self) -> str: ...

    def begin(self, run: TrackedRun) -> Sequence[str]:
        """A session begins: the first, or one that goes on."""
        ...

    def points(self, points: Sequence[Point]) -> Sequence[str]:
        """Numbers, in the order in which they came to be."""
        ...

    def artifact(self, path: Path) -> Sequence[str]:
        """A small file of the run folder, which is complete."""
        ...

    def link(self, name: str, target: str) -> Sequence[str]:
        """Something large that stays where it is: a checkpoint."""
        ...

    def end(self, status: Ending, time: float) -> Sequence[str]:
        """A session ended. ``killed``: it was stopped, or nobody knows how it ended."""
        ...
