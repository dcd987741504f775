"""Hashes of model files, kept from one start to the next."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def digest_of(texts: Iterable[str]) -> str:
    """sha256 over several digests, in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def cached_digest(files: list[Path]) -> str:
    """sha256 over these files, by name and content.

    A file's digest is kept in the user's cache by (real path, size, time of change), so that 25 GiB are read once.
    """
    whole = hashlib.sha256()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wmtp" / "digests"
    for file in files:
        real = file.resolve()
        status = real.stat()
        entry = cache / hashlib.sha256(f"{real} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()
        digest = _read_digest(entry) or _write_digest(entry, real)
        whole.update(f"{file.name} {digest}\n".encode())
    return whole.hexdigest()


def _read_digest(entry: Path) -> str:
    try:
        text = entry.read_text(encoding="ascii")
    except OSError:
        return ""
    return text if len(text) == 64 else ""


def _write_digest(entry: Path, file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary = entry.with_name(f"{entry.name}.{os.getpid()}")
        temporary.write_text(digest, encoding="ascii")
        temporary.replace(entry)
    except OSError:
        return digest  # a home that cannot be written costs time, nothing else
    return digest
