"""What a storage is: something that lists, reads and writes objects by key under a root.

A plugin implements the three methods of `Storage`; `ReadsInto` is for speed alone. Ranges, journal, verification, rename and
manifests are core's (`wmtp.storage.transfer`), so every storage gets resume and atomicity for free.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import attrs

from wmtp.contracts.values import any_text, number


class ObjectChanged(Exception):  # noqa: N818  (the contract's own name)
    """An object is no longer the version that was pinned. Core starts that object again."""


@attrs.frozen(kw_only=True)
class Entry:
    """One object of a storage, pinned.

    Attributes:
        key: Path below the storage's root, ``/``-separated, never absolute, never with ``..``.
        size: Bytes.
        version: What pins the content: VersionId, ETag, or mtime and inode for a folder.
        sha256: Hex digest of the content where the store knows it, else ``None``.
    """

    key: str = attrs.field(validator=any_text)
    size: int = attrs.field(validator=number(0, whole=True))
    version: str = attrs.field(validator=any_text)
    sha256: str | None = None


@runtime_checkable
class Storage(Protocol):
    """Lists, reads pinned ranges, and puts. Methods may be called from several threads at once."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """Entries whose key starts with `prefix`, in any order, each pinned. An empty iterator if there are none."""
        ...

    def read(self, entry: Entry, start: int, stop: int) -> Iterator[bytes]:
        """Bytes ``[start, stop)`` of the pinned version, in chunks. Raises `ObjectChanged` when the version moved on."""
        ...

    def put(self, key: str, source: Path | bytes, *, sha256: str) -> Entry:
        """Stores `source` under `key`, atomically: readers see the old object or the whole new one."""
        ...


@runtime_checkable
class ReadsInto(Protocol):
    """What a storage may offer beside `Storage.read`, and core then uses: large objects come with a sixth less CPU."""

    def read_into(self, entry: Entry, start: int, stop: int, buffer: memoryview) -> Iterator[int]:
        """As `read`, but every chunk is put at the beginning of `buffer`, over the last one, and its length is what comes."""
        ...
