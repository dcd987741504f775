"""Pages that every child of a zygote writes, copied while it is forked instead of one by one as it runs.

A fork shares all pages, and the first write to each, on either side, is a fault that copies it or takes it back: most of what a
short program costs. But Linux copies a page at the fork itself where a device may be writing to it, as it may to buffers that
are registered with io_uring: such a page costs neither side a fault, and a quarter of the CPU. Nothing is ever submitted to
the ring. Where io_uring may not be used, or too little memory may be locked, everything works and costs more.

Which pages they are is seen in a rehearsal (`wmtp.judging.sandbox.rehearsal`). Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from wmtp.judging.sandbox import memory_map

_SETUP, _REGISTER = 425, 427
BUFFERS, NO_BUFFERS = 0, 1  # what is asked of `_REGISTER`; the filter allows nothing else
PAGE = os.sysconf("SC_PAGE_SIZE")
MAX_RANGES = 1 << 14
POOL_BYTES, _POOL_HEAD, _BYTES_OVERHEAD = (
    1 << 14,
    48,
    33,
)  # of CPython's allocator; were they others, holes would be left
MAX_POOLS = 16  # with holes, of one size
_filling: list[object] = []  # kept for good
_PRESENT, _OF_FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
_libc = ctypes.CDLL(None, use_errno=True)


def open_ring() -> int | None:
    """A ring that holds no queue of work, as a descriptor; None where the kernel does not give one."""
    parameters = ctypes.create_string_buffer(120)
    ring = int(_libc.syscall(ctypes.c_long(_SETUP), ctypes.c_long(1), parameters))
    if ring < 0:
        return None
    os.set_inheritable(ring, False)
    return ring


def fill_pools() -> None:
    """Takes what is free in the interpreter's pools of small objects. What a program makes then lies together in fresh ones,
    and not in holes on as many pages as there are holes."""
    for size in range(16, 513, 16):
        for number in range(MAX_POOLS * POOL_BYTES // size):
            _filling.append(_object_of(size, number))
            if id(_filling[-1]) % POOL_BYTES == _POOL_HEAD:
                break


def _object_of(size: int, number: int) -> object:
    """A fresh one that takes so many bytes."""
    if size == 16:
        return object()
    return float(number) if size == 32 else bytes(size - _BYTES_OVERHEAD)


def ranges(pages: Iterable[int]) -> list[tuple[int, int]]:
    """Addresses of pages as (start, bytes), neighbours together."""
    found: list[tuple[int, int]] = []
    for page in sorted(pages):
        if found and sum(found[-1]) == page:
            found[-1] = (found[-1][0], found[-1][1] + PAGE)
        else:
            found.append((page, PAGE))
    return found


def vector(pages: Iterable[int]) -> ctypes.Array[ctypes.c_char]:
    """What `pin` wants, made ready."""
    wanted = ranges(pages)[:MAX_RANGES]
    packed = b"".join(struct.pack("=QQ", start, length) for start, length in wanted)
    return ctypes.create_string_buffer(packed, len(packed))


def still_mapped(pages: Iterable[int], proc: int) -> set[int]:
    """Those that this process can still write. With one that is gone, as the C library gives memory back, none is pinned."""
    writable = _writable("self", proc)
    return {page for page in pages if any(start <= page < end for start, end in writable)}


def _writable(process: str, proc: int) -> list[tuple[int, int]]:
    """Where a process has private memory that it may write, as (start, end)."""
    areas = memory_map.read("maps", process=process, proc=proc)
    return [(area.start, area.end) for area in areas if area.mode[1] == "w" and area.mode[3] == "p"]


def pin(ring: int, wanted: ctypes.Array[ctypes.c_char]) -> bool:
    """Has these pages of this process copied at each fork from now on. False where that cannot be had."""
    count = len(wanted) // 16
    return not count or _register(ring, BUFFERS, wanted, count)


def unpin(ring: int) -> None:
    """Lets go of what was pinned with this ring, whoever did it."""
    _register(ring, NO_BUFFERS, None, 0)


def _register(ring: int, what: int, argument: object, count: int) -> bool:
    return not _libc.syscall(
        ctypes.c_long(_REGISTER), ctypes.c_long(ring), ctypes.c_long(what), argument, ctypes.c_long(count)
    )


def own(process: str, proc: int) -> set[int]:
    """Private pages that only one process holds, by their addresses: of a fork, those that it or its parent has written since.

    proc is a descriptor of /proc, and `process` a name there.
    """
    found = set[int]()
    areas = _writable(process, proc)
    pagemap = os.open(f"{process}/pagemap", os.O_RDONLY, dir_fd=proc)
    try:
        for start, end in areas:
            data = os.pread(pagemap, (end - start) // PAGE * 8, start // PAGE * 8)
            for number, (entry,) in enumerate(struct.iter_unpack("=Q", data)):
                if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _OF_FILE:
                    found.add(start + number * PAGE)
    finally:
        os.close(pagemap)
    return found
