"""A folder as a storage: ``file://`` references, and what the tests of other storages compare with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from wmtp.contracts.storage import Entry, ObjectChanged
from wmtp.errors import ConfigError
from wmtp.storage.keys import relative

CHUNK_BYTES = 1 << 20


def open_local(settings: Any) -> LocalStorage:
    """The storage of ``storage.mode: local``: the working directory."""
    return LocalStorage(Path.cwd())


def open_file(url: str) -> tuple[LocalStorage, str]:
    """The storage and key of ``file:///absolute/path``: a folder's own, or the folder of a file.

    Raises:
        ConfigError: The URL names another machine, or no absolute path.
    """
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise ConfigError(f"{url}: write file:///absolute/path, of a file or folder of this machine")
    return (LocalStorage(path), "") if path.is_dir() else (LocalStorage(path.parent), path.name)


class LocalStorage:
    """Objects are files below `root`; a version is inode, size, and the times of change of content and inode."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _entry(self, path: Path) -> Entry:
        status = path.stat()
        version = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
        return Entry(key=path.relative_to(self._root).as_posix(), size=status.st_size, version=version)

    def list(self, prefix: str) -> Iterator[Entry]:
        start = self._root / prefix.rpartition("/")[0]
        for path in sorted(start.rglob("*")):
            if path.is_file() and path.relative_to(self._root).as_posix().startswith(prefix):
                yield self._entry(path)

    def read(self, entry: Entry, start: int, stop: int) -> Iterator[bytes]:
        path = self._root / relative(entry.key)
        with path.open("rb") as file:
            if self._entry(path).version != entry.version:
                raise ObjectChanged(entry.key)
            file.seek(start)
            while start < stop and (data := file.read(min(CHUNK_BYTES, stop - start))):
                start += len(data)
                yield data

    def put(self, key: str, source: Path | bytes, *, sha256: str) -> Entry:
        path = self._root / relative(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = source if isinstance(source, bytes) else source.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"{key}: the content is not what its sha256 says")
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        return self._entry(path)
