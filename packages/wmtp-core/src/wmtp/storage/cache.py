"""The cache: immutable entries by (source, version). An entry exists when its manifest does, and then it is whole.

``entries/<source>/<version>/`` holds ``files/`` and ``manifest.json``; ``building/`` holds what is being fetched. A build is
a folder with a name of its own that is renamed into place at the end, so that any number of processes may build the same
entry: one rename wins, and the others find it done. Locks save bandwidth where the file system has them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs

from wmtp import json_text
from wmtp.storage import content
from wmtp.storage.content import FileDigest

log = logging.getLogger("wmtp.storage")


def short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


@attrs.frozen
class CacheEntry:
    """A complete entry.

    files: key → what it holds, in pieces of `piece_bytes`. used: when, in seconds since the epoch. patterns: what chose its
    files among those of the source; ``None`` if all were taken.
    """

    source: str
    version: str
    folder: Path
    files: dict[str, FileDigest]
    piece_bytes: int
    used: float
    patterns: tuple[str, ...] | None

    def has_all_of(self, patterns: Sequence[str] | None) -> bool:
        """Whether whatever matches these patterns is in the entry: each lies within one of its own."""
        if self.patterns is None:
            return True
        return patterns is not None and all(any(fnmatchcase(p, own) for own in self.patterns) for p in patterns)

    @property
    def size(self) -> int:
        return sum(content.size for content in self.files.values())

    @property
    def path(self) -> Path:
        return self.folder / "files"


class Cache:
    """The cache under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _folder(self, source: str, version: str) -> Path:
        return self.root / "entries" / short(source) / short(version)

    def find(self, source: str, version: str) -> CacheEntry | None:
        """The complete entry of this version. Checks sizes, hashes nothing."""
        return _read(self._folder(source, version))

    def latest(self, source: str, patterns: Sequence[str] | None = None) -> CacheEntry | None:
        """The complete entry that was used last, among those that have all that these patterns match."""
        found = [entry for entry in self.entries(source) if entry.has_all_of(patterns)]
        return max(found, key=lambda entry: entry.used, default=None)

    def any_of(self, source: str) -> CacheEntry | None:
        """The complete entry that was used last, whatever chose its files."""
        return max(self.entries(source), key=lambda entry: entry.used, default=None)

    def covering(self, source: str, versions: Mapping[str, str]) -> CacheEntry | None:
        """A complete entry that holds these files (key → version), whatever else it holds."""
        for entry in self.entries(source):
            if all(key in entry.files and entry.files[key].version == version for key, version in versions.items()):
                return entry
        return None

    def entries(self, source: str | None = None) -> Iterator[CacheEntry]:
        """Every complete entry, or those of one source."""
        for manifest in sorted(self.root.glob(f"entries/{short(source) if source else '*'}/*/manifest.json")):
            if entry := _read(manifest.parent):
                yield entry

    @contextmanager
    def building(self, source: str, version: str) -> Iterator[Path]:
        """A folder to build the entry in, taken over from whoever on this machine gave up or died building the same."""
        self.root.mkdir(parents=True, exist_ok=True)
        name = f"{short(source)}-{short(version)}"
        builds = self.root / "building"
        builds.mkdir(exist_ok=True)
        with _saving_bandwidth(builds / f"{name}.lock"):
            mine = builds / f"{name}.{_this_machine()}.{os.getpid()}.{uuid4().hex[:8]}"
            for other in sorted(builds.glob(f"{name}.*.*.*")):
                if _is_left(other):
                    try:
                        other.rename(mine)
                        break
                    except OSError:
                        continue  # somebody else was faster
            mine.mkdir(exist_ok=True)
            _building.add(mine)
            try:
                yield mine
            finally:
                _building.discard(mine)
                with suppress(OSError):
                    mine.rmdir()  # only if nothing was built: somebody else had done it

    def publish(
        self,
        build: Path,
        source: str,
        version: str,
        files: dict[str, FileDigest],
        patterns: Sequence[str] | None = None,
    ) -> CacheEntry:
        """Writes the manifest last and renames the build into place."""
        target = self._folder(source, version)
        manifest = {
            "source": source,
            "version": version,
            "patterns": patterns,
            "piece_bytes": content.PIECE_BYTES,
            "files": {key: [file.size, list(file.pieces), file.version] for key, file in sorted(files.items())},
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        for entry in build.iterdir():
            if entry.name != "files":
                entry.unlink()
        with (build / "manifest.json").open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            build.rename(target)
        except OSError:
            if _read(target) is None:  # an incomplete entry there: damaged by hand, or by a disk
                shutil.rmtree(target, ignore_errors=True)
                build.rename(target)
            else:
                shutil.rmtree(build, ignore_errors=True)
        entry_ = _read(target)
        assert entry_ is not None
        return entry_

    def verify(self, entry: CacheEntry) -> list[str]:
        """What is wrong with an entry, a line each: every file is hashed."""
        wrong = []
        for key, expected in entry.files.items():
            try:
                right = content.matches(entry.path / key, expected, entry.piece_bytes)
            except OSError as error:
                wrong.append(f"{entry.source} {key}: cannot be read: {error.strerror}")
                continue
            if not right:
                wrong.append(f"{entry.source} {key}: its content has changed")
        return wrong

    def prune(self, most_bytes: int, *, spare_seconds: float = 0) -> list[CacheEntry]:
        """Removes entries, the longest unused first, until the rest fits; and what dead processes were building.

        spare_seconds: entries used so recently are left, for a process may be reading them.
        """
        for build in (self.root / "building").glob("*.*.*.*"):
            if _is_left(build):
                shutil.rmtree(build, ignore_errors=True)
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        total, removed = sum(entry.size for entry in entries), []
        for entry in entries:
            if total <= most_bytes or (spare_seconds and time.time() - entry.used < spare_seconds):
                break
            (entry.folder / "manifest.json").unlink()  # from here on it is no entry any more
            shutil.rmtree(entry.folder, ignore_errors=True)
            total -= entry.size
            removed.append(entry)
        return removed


def _read(folder: Path) -> CacheEntry | None:
    manifest = folder / "manifest.json"
    try:
        data: dict[str, Any] = json_text.loads(manifest.read_text(encoding="utf-8"))
        files = {str(key): FileDigest(int(size), tuple(p), str(v)) for key, (size, p, v) in data["files"].items()}
        whole = all(os.stat(f"{folder}/files/{key}").st_size == file.size for key, file in files.items())
        piece_bytes, patterns = int(data["piece_bytes"]), data["patterns"]
        used = manifest.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not whole:
        return None
    chosen = None if patterns is None else tuple(patterns)
    return CacheEntry(data["source"], data["version"], folder, files, piece_bytes, used, chosen)


def touch(entry: CacheEntry) -> None:
    """Notes that an entry was used, for `prune`. A read-only cache keeps no notes."""
    try:
        now = time.time()
        os.utime(entry.folder / "manifest.json", (now, now))
    except OSError:
        return


@contextmanager
def _saving_bandwidth(path: Path) -> Iterator[None]:
    """One builder of an entry at a time, where the file system can lock; elsewhere several build, and one rename wins.

    The kernel's own lock and no stand-in made of files: it goes with its process, however that ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # ENOSYS, ENOTSUP, ENOLCK: whatever a network file system answers
            log.debug("%s: this file system has no locks: %s", path.parent, error.strerror)
        yield
    finally:
        os.close(descriptor)


_building: set[Path] = set()
"""What this process is building now."""


def _this_machine() -> str:
    """This machine in the name of a build. A digest: host names have dots, and the parts of a build's name are put together
    with them."""
    return short(socket.gethostname())[:12]


def _is_left(build: Path) -> bool:
    """Whether nobody builds here any more. Other machines' builds are never taken for left."""
    *_, host, pid, _ = build.name.rsplit(".", 3)
    if host != _this_machine() or not pid.isdecimal():
        return False
    return build not in _building if int(pid) == os.getpid() else not Path(f"/proc/{pid}").exists()
