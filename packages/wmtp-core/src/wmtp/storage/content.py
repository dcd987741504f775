"""What a file holds, as its manifest says it: its size, and the sha256 of each of its pieces.

Pieces of one file arrive on several connections at once. Hashed piece by piece, each is hashed while it is in the
processor's cache, in parallel, and is never read again: sha256 over a whole file would have to wait for its first byte.
A file of one piece, which most are, has its plain sha256.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from pathlib import Path
from typing import Any

import attrs

from wmtp import digests

PIECE_BYTES = digests.PIECE_BYTES
_BLOCK = 1 << 18
_SYNC_FILE_RANGE_WRITE = 2


@attrs.frozen
class FileDigest:
    """size: bytes. pieces: hex sha256 of each `PIECE_BYTES` of the file, in order; none for an empty one.

    version: what pinned it in the storage that it came from.
    """

    size: int
    pieces: tuple[str, ...]
    version: str = attrs.field(default="", eq=False)


def matches(path: Path, content: FileDigest, piece_bytes: int) -> bool:
    """Whether a file holds this content: every byte of it is read and hashed. Raises OSError."""
    if path.stat().st_size != content.size:
        return False
    with path.open("rb", buffering=0) as file:
        buffer = memoryview(bytearray(_BLOCK))
        for expected in content.pieces:
            digest, left = hashlib.sha256(), piece_bytes
            while left and (count := file.readinto(buffer[: min(_BLOCK, left)])):
                digest.update(buffer[:count])
                left -= count
            if digest.hexdigest() != expected:
                return False
    return True


@functools.cache
def _sync_file_range() -> Any:
    """Linux's call of that name, which Python does not offer; ``None`` elsewhere."""
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return call


def write_back(descriptor: int, start: int, count: int) -> None:
    """Has the kernel begin to write this range to the disk, without waiting, so that the fsync at the end finds little left.

    A file system that cannot do it says so in vain: it costs nothing but the wait at the end.
    """
    if call := _sync_file_range():
        call(descriptor, start, count, _SYNC_FILE_RANGE_WRITE)
