"""Fewer areas of memory: each costs every fork, and the end of every process, up to a microsecond.

A shared object is mapped as five: headers, code, constants, what is written only while it is loaded, and data. The kernel makes
one area of neighbours that may do the same, so two are enough: what nobody has written, to be read and run, and what was
written. Constants that could be run are how libraries were for decades, and programs may map memory to run anyhow; nothing is
ever written and run. Where /proc does not tell or the kernel refuses, everything works and costs more. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import NamedTuple

_RIGHTS = {"r": 1, "w": 2, "x": 4}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class _Area(NamedTuple):
    start: int
    end: int
    rights: frozenset[str]
    offset: int
    """In its file."""
    file: str
    written: bool


def join() -> int:
    """Gives neighbours of one file in this process the rights of all of them. Returns how many areas there are fewer.

    For a process with one thread, once its libraries are loaded.
    """
    joined = 0
    with contextlib.suppress(OSError):
        groups: list[list[_Area]] = []
        for area in _of_files():
            if groups and _belongs(groups[-1], area):
                groups[-1].append(area)
            else:
                groups.append([area])
        for group in groups:
            joined += _join(group) if len(group) > 1 else 0
    return joined


def _join(group: list[_Area]) -> int:
    start, rights = group[0].start, frozenset[str]().union(*(area.rights for area in group))
    failed = _libc.mprotect(start, group[-1].end - start, sum(_RIGHTS[right] for right in rights))
    return 0 if failed else len(group) - 1


def _belongs(group: list[_Area], area: _Area) -> bool:
    last = group[-1]
    neighbours = (
        last.end == area.start and last.file == area.file and last.offset + last.end - last.start == area.offset
    )
    rights = area.rights.union(*(other.rights for other in group))
    return neighbours and last.written == area.written and not rights >= {"w", "x"}


def _of_files() -> list[_Area]:
    """Private areas of files, in order."""
    found = []
    with open("/proc/self/smaps", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            words = line.split(maxsplit=5)
            if not words[0].endswith(":"):
                head = words
            elif words[0] == "Anonymous:" and len(head) == 6 and head[5].startswith("/") and head[1][3] == "p":
                start, end = (int(edge, 16) for edge in head[0].split("-"))
                rights = frozenset(head[1][:3]) - {"-"}
                found.append(_Area(start, end, rights, int(head[2], 16), head[5], "w" in rights or words[1] != "0"))
    return found
