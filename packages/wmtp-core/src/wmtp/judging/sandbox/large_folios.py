"""The zygote's memory in pieces of many pages: a fork, and the end of a child, count such a piece's neighbours together.

Of two thousand pages that a warm interpreter holds, a program writes three hundred. A fork counts a reference for each of the
others, and the child's end counts it back. The kernel keeps memory as folios; pages of one large folio that lie side by side
are counted at once. So what was written page by page while modules were loaded is copied into huge pages, which are then moved
to where the old ones were. Copying and moving are one call of the C library, since Python itself lives in that memory: two
contexts, each of which runs one function and goes on with the next (makecontext). Where huge pages cannot be had, everything
works and costs more. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes

from wmtp.judging.sandbox import memory_map

HUGE = 2 << 20
LEAST = 256 << 10  # bytes of an area that is worth it
_READ_WRITE, _PRIVATE_ANONYMOUS, _MOVE_THERE, _COLLAPSE = 3, 0x22, 3, 25
_FAILED = ctypes.c_void_p(-1).value
_CONTEXT = 1 << 14  # more than any ucontext_t, and a stack for one function
_SCRATCH = 6 * _CONTEXT
_LINK, _STACK = 8, 16  # where it says what comes next, and on which stack it runs: (address, flags, bytes)
_libc = ctypes.PyDLL(None)
_long, _size = ctypes.c_long, ctypes.c_size_t
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, _size, ctypes.c_int, ctypes.c_int, ctypes.c_int, _long)
_libc.madvise.argtypes = (ctypes.c_void_p, _size, ctypes.c_int)
_libc.munmap.argtypes = (ctypes.c_void_p, _size)


def gather(proc: int) -> int:
    """Replaces the larger areas that this process writes by large folios. Returns how many bytes: 0 where that cannot be had.

    For a process with one thread. proc is a descriptor of /proc.
    """
    gathered = 0
    with contextlib.suppress(OSError, AttributeError):  # /proc does not tell, or a C library without contexts
        areas = _written(proc)
        scratch = _map(_SCRATCH)  # only now, or it could be part of one
        for start, end in areas:
            gathered += _replace(start, end - start, scratch)
        _libc.munmap(scratch, _SCRATCH)
    return gathered


def _written(proc: int) -> list[tuple[int, int]]:
    """Private areas of which enough was written, but for the stack."""
    return [
        (area.start, area.end)
        for area in memory_map.read("smaps", proc=proc)
        if area.anonymous >= LEAST and area.mode == "rw-p" and area.file != "[stack]"
    ]


def _map(length: int) -> int:
    found = _libc.mmap(None, length, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if found == _FAILED:
        raise OSError("mmap")
    return int(found)


def _replace(start: int, length: int, scratch: int) -> int:
    whole = -(-length // HUGE) * HUGE
    room = _map(whole + HUGE)
    copy = -(-room // HUGE) * HUGE
    for page in range(copy, copy + whole, HUGE):
        ctypes.memset(page, 0, 1)  # only what is there can be made one
    if _libc.madvise(copy, whole, _COLLAPSE):
        _libc.munmap(room, whole + HUGE)
        return 0
    _copy_and_move(copy, start, length, scratch)
    # What was moved is somebody else's by now, perhaps.
    _libc.munmap(room, copy - room)
    _libc.munmap(copy + length, room + HUGE - copy + whole - length)
    return length


def _copy_and_move(copy: int, start: int, length: int, scratch: int) -> None:
    """memcpy(copy, start), then mremap(copy → start), and no line of Python between them. The contexts lie in `scratch`, which
    is not moved, each with its stack behind it."""
    back, first, second = (scratch + number * 2 * _CONTEXT for number in range(3))
    for context, then, name, arguments in (
        (first, second, "memcpy", (copy, start, length)),
        (second, back, "mremap", (copy, length, length, _MOVE_THERE, start)),
    ):
        _libc.getcontext(_long(context))
        _put(context + _LINK, then)
        _put(context + _STACK, context + _CONTEXT)
        _put(context + _STACK + 16, _CONTEXT)
        function = ctypes.cast(_libc[name], ctypes.c_void_p).value
        _libc.makecontext(_long(context), _long(function or 0), len(arguments), *map(_long, arguments))
    _libc.swapcontext(_long(back), _long(first))


def _put(address: int, value: int) -> None:
    ctypes.c_ulong.from_address(address).value = value
