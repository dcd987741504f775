"""``tracking/journal.jsonl``: what trackers are to hear of a run, a line each, only ever appended to.

A line is whole or absent: a killed process loses at most the line it was writing. Sessions that go on append to the same file.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import cattrs

from wmtp import json_text
from wmtp.contracts.tracking import Ending, Point, TrackedRun
from wmtp.errors import ConfigError

FOLDER = "tracking"
SYNC_EVERY_S = 1.0


@attrs.frozen(kw_only=True)
class Numbers:
    """Values of one step. result: they are the state of a result, which a later session may correct; others are said once."""

    values: Mapping[str, float]
    step: int
    time: float
    result: bool = False

    def points(self) -> list[Point]:
        return [Point(key=k, value=v, step=self.step, time=self.time) for k, v in self.values.items()]


@attrs.frozen(kw_only=True)
class Artifact:
    """A small file of the run folder, by its name there."""

    file: str


@attrs.frozen(kw_only=True)
class Link:
    """Something large that stays where it is."""

    name: str
    target: str


@attrs.frozen(kw_only=True)
class Ended:
    """A session ended."""

    status: Ending
    time: float


Entry: TypeAlias = TrackedRun | Numbers | Artifact | Link | Ended
_KINDS: dict[str, type[Any]] = {"run": TrackedRun, "numbers": Numbers, "artifact": Artifact, "link": Link, "end": Ended}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def journal_path(folder: Path) -> Path:
    """Of a run folder."""
    return folder / FOLDER / "journal.jsonl"


class Journal:
    """The journal of a run folder, to append to. One process at a time: whoever holds the run folder."""

    def __init__(self, folder: Path) -> None:
        self.path = journal_path(folder)
        self.path.parent.mkdir(exist_ok=True)
        self._highest: dict[str, int] = {}
        self._results: dict[tuple[str, int], float] = {}
        self._links: dict[str, str] = {}
        end = 0
        for upto, entry in read_journal(self.path):
            self._learn(entry)
            end = upto
        self._file = self.path.open("ab", buffering=0)
        self._file.truncate(end)  # a line that was torn
        self._size = end
        self._synced = 0.0

    def add(self, entry: Entry) -> None:
        """Append an entry, unless it says nothing new. Raises OSError where the disk is full: whole lines are left."""
        fresh = self._news(entry)
        if fresh is None:
            return
        data = (json.dumps({"what": _NAMES[type(fresh)], **_plain(fresh)}, separators=(",", ":")) + "\n").encode()
        try:
            written = self._file.write(data)
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            os.truncate(self.path, self._size)
            raise
        self._size += len(data)
        self._learn(fresh)
        if not isinstance(fresh, Numbers) or time.monotonic() - self._synced > SYNC_EVERY_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _news(self, entry: Entry) -> Entry | None:
        """The entry less what the journal has: a training that goes on from a checkpoint logs its last steps again."""
        if isinstance(entry, Link):
            return None if self._links.get(entry.name) == entry.target else entry
        if not isinstance(entry, Numbers):
            return entry
        if entry.result:
            values = {k: v for k, v in entry.values.items() if not _same(self._results.get((k, entry.step)), v)}
        else:
            values = {k: v for k, v in entry.values.items() if entry.step > self._highest.get(k, -1)}
        if not values:
            return None
        return entry if len(values) == len(entry.values) else attrs.evolve(entry, values=values)

    def _learn(self, entry: Entry) -> None:
        if isinstance(entry, Link):
            self._links[entry.name] = entry.target
        elif isinstance(entry, Numbers) and entry.result:
            self._results |= {(key, entry.step): value for key, value in entry.values.items()}
        elif isinstance(entry, Numbers):
            self._highest |= {key: max(entry.step, self._highest.get(key, -1)) for key in entry.values}

    def close(self) -> None:
        self._file.close()


def _same(one: float | None, other: float) -> bool:
    return one is not None and (one == other or (math.isnan(one) and math.isnan(other)))


def _plain(entry: Entry) -> dict[str, Any]:
    if not isinstance(entry, Numbers):
        return attrs.asdict(entry)
    # JSON has no NaN and no infinities: as text, which every reader takes.
    values = {k: v if math.isfinite(v) else repr(float(v)) for k, v in entry.values.items()}
    return {"values": values, "step": entry.step, "time": entry.time, "result": entry.result}


def read_journal(path: Path, offset: int = 0) -> Iterator[tuple[int, Entry]]:
    """(where it ends, entry) of every whole line from a byte on.

    Raises:
        ConfigError: A line is damaged; names file and place.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield offset + len(line), _entry(path, offset, line)
            offset += len(line)


def _entry(path: Path, offset: int, line: bytes) -> Entry:
    try:
        row = json_text.loads(line)
        entry: Entry = cattrs.structure(row, _KINDS[row.pop("what")])
    except Exception as error:  # noqa: BLE001  (cattrs raises groups, JSON and the table their own)
        raise ConfigError(f"{path}, at byte {offset}: damaged: {error!r}. Remove that line, or use --fresh.") from None
    return entry


__all__ = ["FOLDER", "Artifact", "Ended", "Entry", "Journal", "Link", "Numbers", "journal_path", "read_journal"]
