"""Digests of files, each read once: while it is downloaded, or when a model is asked what it is.

A file of at most `PIECE_BYTES` has its sha256. A longer one has the sha256 of its pieces' sha256, in their order: pieces are
hashed side by side, as they come from a storage or on all processors here, and no file is read twice. What is known is noted in
the user's cache by (real path, size, time of change), so that it is known to the next process too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PIECE_BYTES = 32 << 20
_BLOCK_BYTES = 1 << 20


def digest_of(texts: Iterable[str]) -> str:
    """sha256 over several digests, in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def digest_of_pieces(pieces: Sequence[str]) -> str:
    """The digest of a file from the sha256 of each `PIECE_BYTES` of it."""
    if not pieces:
        return hashlib.sha256().hexdigest()
    return pieces[0] if len(pieces) == 1 else digest_of(pieces)


def file_digest(path: Path, *, whole: bool = False) -> str:
    """The digest of a file, from the notes if it has not changed since it was last read.

    Args:
        path: The file.
        whole: Its sha256, whatever its length: as runs have it that were begun before pieces.

    Raises:
        OSError: It cannot be read.
    """
    note = _note(path, whole=whole)
    if known := _read(note):
        return known
    size = path.stat().st_size
    if whole or size <= PIECE_BYTES:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    else:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="digest") as pool:
            digest = digest_of_pieces(list(pool.map(lambda start: _piece(path, start), range(0, size, PIECE_BYTES))))
    _write(note, digest)
    return digest


def remember(path: Path, digest: str) -> None:
    """Note the digest of a file that was read for another reason: nobody reads it for its digest again."""
    _write(_note(path, whole=False), digest)


def cached_digest(files: Iterable[Path], *, whole: bool = False) -> str:
    """sha256 over files, by name and content. whole: see `file_digest`."""
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.name} {file_digest(file, whole=whole)}\n".encode())
    return found.hexdigest()


def _piece(path: Path, start: int) -> str:
    digest, end = hashlib.sha256(), start + PIECE_BYTES
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end and (block := file.read(min(_BLOCK_BYTES, end - start))):
            digest.update(block)
            start += len(block)
    return digest.hexdigest()


def _note(path: Path, *, whole: bool) -> Path:
    real = path.resolve()
    status = real.stat()
    # One name for both kinds where they are the same: notes of whole files are older than pieces.
    pieces = "" if whole or status.st_size <= PIECE_BYTES else " pieces"
    name = hashlib.sha256(f"{real} {status.st_size} {status.st_mtime_ns}{pieces}".encode("utf-8", "surrogateescape"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "wmtp" / "digests" / name.hexdigest()


def _read(note: Path) -> str:
    try:
        text = note.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return text if len(text) == 64 else ""


def _write(note: Path, digest: str) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary = note.with_name(f"{note.name}.{os.getpid()}")
        temporary.write_text(digest, encoding="ascii")
        temporary.replace(note)
    except OSError:
        return  # a home that cannot be written costs time, nothing else
