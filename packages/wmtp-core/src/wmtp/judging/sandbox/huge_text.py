"""The interpreter's code in huge pages: what every child of a zygote runs, and would else map piece by piece.

Code of a file is not mapped by a fork: each child faults in what it touches, sixteen pages at a time, some forty times for a
short program, and lets go of it again at its end. A copy of the same bytes in huge pages of memory is shared by a fork for the
price of a few entries. Only whole aligned huge pages are replaced, and only where the kernel gives some (transparent huge
pages, on request or always); else everything works and costs more. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

from wmtp.judging.sandbox import memory_map

HUGE = 2 << 20
_READ, _WRITE, _EXECUTE = 1, 2, 4
_PRIVATE_ANONYMOUS, _MOVE_THERE, _HUGEPAGE = 0x22, 3, 14
_FAILED = ctypes.c_void_p(-1).value
_libc = ctypes.CDLL(None, use_errno=True)
_address, _size = ctypes.c_void_p, ctypes.c_size_t
_libc.mmap.restype = _libc.mremap.restype = _address
_libc.mmap.argtypes = (_address, _size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.mremap.argtypes = (_address, _size, _size, ctypes.c_int, _address)
_libc.madvise.argtypes = _libc.mprotect.argtypes = (_address, _size, ctypes.c_int)
_libc.munmap.argtypes = (_address, _size)


def replace() -> int:
    """Replaces this process's code by the same bytes in huge pages. Returns how many bytes: 0 where that cannot be had.

    For a process with one thread: whoever runs that code meanwhile finds the same at the same addresses.
    """
    replaced = 0
    with contextlib.suppress(OSError):  # /proc does not tell
        for first, last in _images():
            start, end = -(-first // HUGE) * HUGE, last // HUGE * HUGE
            if start < end and _replace(start, end - start):
                replaced += end - start
    return replaced


def _images() -> list[tuple[int, int]]:
    """Where the files of this process lie that it runs, each without what is written: (start, end) of neighbouring areas."""
    found: list[list[Any]] = []  # start, end, file, whether it runs
    for start, end, mode, _, file, *_ in memory_map.read("maps"):
        if not file.startswith("/") or "w" in mode:
            continue
        if found and found[-1][1:3] == [start, file]:
            found[-1][1] = end
            found[-1][3] |= "x" in mode
        else:
            found.append([start, end, file, "x" in mode])
    return [(start, end) for start, end, _, runs in found if runs]


def _replace(start: int, length: int) -> bool:
    room = _libc.mmap(None, length + HUGE, _READ | _WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if room == _FAILED:
        return False
    copy = -(-room // HUGE) * HUGE
    if copy > room:
        _libc.munmap(room, copy - room)
    _libc.munmap(copy + length, room + HUGE - copy)
    _libc.madvise(copy, length, _HUGEPAGE)
    ctypes.memmove(copy, start, length)
    # Small pages would be dearer than the file's: a fork copies the table of all of them.
    if (
        _huge_bytes(copy, copy + length) == length
        and not _libc.mprotect(copy, length, _READ | _EXECUTE)
        and _libc.mremap(copy, length, length, _MOVE_THERE, start) == start
    ):
        return True
    _libc.munmap(copy, length)
    return False


def _huge_bytes(start: int, end: int) -> int:
    """Bytes of this range that are in huge pages of memory. Neighbours may be in one area with it."""
    found = sum(area.huge for area in memory_map.read("smaps") if area.start < end and area.end > start)
    return min(found, end - start)
