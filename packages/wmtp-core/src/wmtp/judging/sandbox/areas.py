"""Fewer areas of memory: each costs every fork, and the end of every process, up to a microsecond.

A shared object is mapped as five: headers, code, constants, what is written only while it is loaded, and data. The kernel makes
one area of neighbours that may do the same, so two are enough: what nobody has written, to be read and run, and what was
written. Constants that could be run are how libraries were for decades, and programs may map memory to run anyhow; nothing is
ever written and run. Where /proc does not tell or the kernel refuses, everything works and costs more. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes

from wmtp.judging.sandbox import memory_map
from wmtp.judging.sandbox.memory_map import Area

_RIGHTS = {"r": 1, "w": 2, "x": 4}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def join() -> int:
    """Gives neighbours of one file in this process the rights of all of them. Returns how many areas there are fewer.

    For a process with one thread, once its libraries are loaded.
    """
    joined = 0
    with contextlib.suppress(OSError):
        groups: list[list[Area]] = []
        for area in _of_files():
            if groups and _belongs(groups[-1], area):
                groups[-1].append(area)
            else:
                groups.append([area])
        for group in groups:
            joined += _join(group) if len(group) > 1 else 0
    return joined


def _join(group: list[Area]) -> int:
    start, rights = group[0].start, frozenset[str]().union(*map(_rights, group))
    failed = _libc.mprotect(start, group[-1].end - start, sum(_RIGHTS[right] for right in rights))
    return 0 if failed else len(group) - 1


def _belongs(group: list[Area], area: Area) -> bool:
    last = group[-1]
    neighbours = (
        last.end == area.start and last.file == area.file and last.offset + last.end - last.start == area.offset
    )
    rights = _rights(area).union(*map(_rights, group))
    return neighbours and _is_written(last) == _is_written(area) and not rights >= {"w", "x"}


def _rights(area: Area) -> frozenset[str]:
    return frozenset(area.mode[:3]) - {"-"}


def _is_written(area: Area) -> bool:
    return "w" in area.mode or area.anonymous > 0


def _of_files() -> list[Area]:
    """Private areas of files, in order."""
    return [area for area in memory_map.read("smaps") if area.file.startswith("/") and area.mode[3] == "p"]
