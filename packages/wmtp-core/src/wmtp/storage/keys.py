"""Keys of a storage as paths below a folder: nothing climbs out, nothing collides."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

LONGEST_NAME = 255  # bytes, on every file system we know


class BadKey(ValueError):  # noqa: N818
    """A key that no file may be named after; the text says which and why."""


def relative(key: str) -> Path:
    """The key as a relative path. Raises `BadKey` for absolute keys, ``..``, NULs, backslashes and names too long."""
    parts = key.split("/")
    if not key or key.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise BadKey(f"key {key!r} is empty, absolute, or has empty, '.' or '..' parts")
    if "\\" in key or any(ord(c) < 32 for c in key):
        raise BadKey(f"key {key!r} has backslashes or control characters")
    if any(len(part.encode("utf-8", "surrogatepass")) > LONGEST_NAME for part in parts):
        raise BadKey(f"key {key[:60]!r}… has a name of more than {LONGEST_NAME} bytes")
    return Path(*parts)


def check_collisions(keys: Iterable[str]) -> None:
    """Raises `BadKey` where two keys are one on a disk that ignores case or composes accents, or one is a folder of another."""
    seen: dict[str, str] = {}
    for key in keys:
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())
        if folded in seen:
            raise BadKey(f"keys {seen[folded]!r} and {key!r} are one name on some disks (case, or accents)")
        seen[folded] = key
    for folded, key in seen.items():
        parts = folded.split("/")
        for end in range(1, len(parts)):
            if (parent := "/".join(parts[:end])) in seen:
                raise BadKey(f"key {seen[parent]!r} is a file and the folder of {key!r}")
