"""``metrics.jsonl``: what was measured at each step, one line a step. Trackers are fed from it and never slow a step."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import wmtp


class Journal:
    """An append-only file of one line a step; after a resume it is cut back to the checkpoint's step."""

    def __init__(self, path: Path, step: int) -> None:
        """step: what the training goes on from; lines behind it are of steps that are done again."""
        self._path = path
        _cut(path, step)
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, whole or not at all. Numbers that JSON has no word for are written as strings: ``"nan"``, ``"inf"``."""
        plain = {name: value if math.isfinite(value) else str(value) for name, value in values.items()}
        line = json.dumps({"step": step, "time": round(time.time(), 3), "values": plain})
        data = f"{line}\n".encode()
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            os.truncate(self._path, self._size)
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        self._size = self._file.tell()

    def sync(self) -> None:
        """Puts what was written onto the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> Iterator[tuple[int, float, dict[str, float]]]:
    """(step, time, values) of every whole line. Raises ConfigError for one that is damaged; the last may be torn."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            yield _row(path, number, line)


def _row(path: Path, number: int, line: bytes) -> tuple[int, float, dict[str, float]]:
    try:
        row: dict[str, Any] = json.loads(line)
        return int(row["step"]), float(row["time"]), {name: float(value) for name, value in row["values"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise wmtp.ConfigError(
            f"{path}, line {number}: damaged: {error!r}. Remove that line: the training goes on, and its curve has a gap there."
        ) from None


def _cut(path: Path, step: int) -> None:
    """Cuts the file behind the last line of a step up to `step`."""
    if not path.exists():
        return
    kept = 0
    with path.open("rb+") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") or _row(path, number, line)[0] > step:
                break
            kept += len(line)
        file.truncate(kept)
