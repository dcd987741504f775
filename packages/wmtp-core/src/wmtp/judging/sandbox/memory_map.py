"""What lies where in a process's memory, as /proc tells it (``maps``, and with counts ``smaps``). Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple


class Area(NamedTuple):
    """Pages side by side that a process may do the same with."""

    start: int
    end: int
    mode: str
    """Four letters: ``rw-p``."""
    offset: int
    """In its file."""
    file: str
    """Its path, a name in brackets, or nothing."""
    anonymous: int = 0
    """Bytes that are no file's, or were written since. Only ``smaps`` tells."""
    huge: int = 0
    """Bytes of those in huge pages. Only ``smaps`` tells."""


def areas(lines: Iterable[str]) -> list[Area]:
    """The areas of a process in order, from the lines of either file."""
    found: list[Area] = []
    for line in lines:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            start, end = (int(edge, 16) for edge in words[0].split("-"))
            found.append(Area(start, end, words[1], int(words[2], 16), words[5].rstrip("\n") if len(words) > 5 else ""))
        elif words[0] == "Anonymous:":
            found[-1] = found[-1]._replace(anonymous=int(words[1]) << 10)
        elif words[0] == "AnonHugePages:":
            found[-1] = found[-1]._replace(huge=int(words[1]) << 10)
    return found


def read(kind: str, *, process: str = "self", proc: int | None = None) -> list[Area]:
    """The areas of a process: those of ``maps`` or ``smaps``.

    Args:
        kind: Which of the two.
        process: A name in /proc.
        proc: A descriptor of /proc, where its name leads elsewhere or nowhere.

    Raises OSError where /proc does not tell.
    """
    name = f"{process}/{kind}"
    where: str | int = f"/proc/{name}" if proc is None else os.open(name, os.O_RDONLY, dir_fd=proc)
    with open(where, encoding="utf-8", errors="surrogateescape") as lines:
        return areas(lines)
