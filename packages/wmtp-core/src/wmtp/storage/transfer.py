"""From a storage into the cache: pinned ranges in parallel, a journal to resume from, checked and renamed whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from wmtp.errors import ResourceError
from wmtp.storage.base import Changed, Entry, Storage
from wmtp.storage.cache import Cache, CacheEntry, short
from wmtp.storage.keys import check_collisions, relative

MANIFEST = "wmtp-manifest.json"
RANGE_BYTES = 32 << 20
WORKERS = 8
RETRIES = 4
"""Attempts in a row that bring no byte, before a range is given up."""
OUR_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})

Report = Callable[[int], None]
"""Called with bytes as they arrive."""


def version_of(entries: Sequence[Entry]) -> str:
    """What pins a set of objects: a digest of keys, sizes and versions."""
    lines = sorted(f"{entry.key}\0{entry.size}\0{entry.version}" for entry in entries)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


class _Journal:
    """Finished ranges, one line each, appended as they finish; a torn last line is ignored.

    What a killed process wrote stays in the kernel's hands, so ranges are not synced one by one. A machine that went down
    may have lost them: the first line names the boot they belong to, and a journal of another boot counts for nothing.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self.done: set[tuple[str, int]] = set()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        boot = json.dumps({"boot": _boot()})
        resumed = bool(lines) and lines[0] == boot
        for line in lines[1:] if resumed else ():
            try:
                name, start = json.loads(line)
            except ValueError:
                continue
            self.done.add((name, start))
        self._file = path.open("a" if resumed else "w", encoding="utf-8")
        # A torn line is ended, so that the next one stands on its own.
        self._file.write("\n" if resumed else f"{boot}\n")
        self._file.flush()

    def add(self, name: str, start: int) -> None:
        with self._lock:
            self._file.write(json.dumps([name, start]) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def _boot() -> str:
    """Which start of this machine this is. Where the kernel does not say, nothing is taken over."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return uuid4().hex


def download(
    storage: Storage, entries: Sequence[Entry], prefix: str, cache: Cache, source: str, report: Report | None = None
) -> CacheEntry:
    """Brings a pinned set of objects into the cache and returns the complete entry.

    entries: the objects, as one listing pinned them; `prefix` is taken off their keys. Raises `Changed` if an object moved
    on meanwhile (list again), ResourceError for a transfer that keeps failing or content that is not what the store says.
    """
    names = {entry.key: entry.key.removeprefix(prefix).lstrip("/") or entry.key.rsplit("/", 1)[-1] for entry in entries}
    for name in names.values():
        relative(name)
    check_collisions(names.values())
    version = version_of(entries)
    with cache.building(source, version) as build:
        if found := cache.find(source, version):  # another process was faster
            return found
        journal = _Journal(build / "journal.jsonl")
        files = {}
        try:
            for entry in entries:
                _allocate(build / "files" / relative(names[entry.key]), entry.size)
            jobs = [
                (entry, start)
                for entry in sorted(entries, key=lambda entry: -entry.size)
                for start in range(0, entry.size, RANGE_BYTES)
                if (short(entry.key + entry.version), start) not in journal.done
            ]
            _run(
                lambda job: _range(storage, *job, build / "files" / relative(names[job[0].key]), journal, report), jobs
            )
        finally:
            journal.close()
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                digests = pool.map(lambda e: _finish(build / "files" / relative(names[e.key]), e), entries)
                for entry, digest in zip(entries, digests, strict=True):
                    files[names[entry.key]] = (entry.size, digest)
            _check_set(build / "files", files)
        except ResourceError:
            shutil.rmtree(build)  # its journal vouches for bytes that are wrong: the next call must not go on from it
            raise
        return cache.publish(build, source, version, files)


def _run(work: Callable[[tuple[Entry, int]], None], jobs: Iterable[tuple[Entry, int]]) -> None:
    """All jobs on a few threads; the first error ends the rest before they start."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _allocate(path: Path, size: int) -> None:
    """The file at its full size, content kept: ranges are written where they belong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(size)


def _range(storage: Storage, entry: Entry, start: int, path: Path, journal: _Journal, report: Report | None) -> None:
    stop = min(entry.size, start + RANGE_BYTES)
    at = start
    failure: Exception | None = None
    failures = 0
    while failures < RETRIES:
        if failures:
            time.sleep(0.1 * 2**failures)
        before = at
        descriptor = os.open(path, os.O_WRONLY)
        try:
            for data in storage.read(entry, at, stop):
                view = memoryview(data)[: stop - at]
                while view:
                    written = os.pwrite(descriptor, view, at)
                    at += written
                    view = view[written:]
                if report:
                    report(len(data))
            if at == stop:
                journal.add(short(entry.key + entry.version), start)
                return
            failure = ResourceError(f"{entry.key}: the body ended at byte {at} of {stop}")
        except Changed:
            raise
        except OSError as error:  # what storages raise for a cut connection; trouble with our own disk is told at once
            if error.errno in OUR_DISK or (error.errno is not None and error.filename is not None):
                raise ResourceError(f"cannot write {path}: {error.strerror}") from error
            failure = error
        finally:
            os.close(descriptor)
        failures = 1 if at > before else failures + 1
    raise ResourceError(f"{entry.key}: fetching bytes {at} to {stop} failed {RETRIES} times: {failure}") from failure


def _finish(path: Path, entry: Entry) -> str:
    """Size and sha256 of a whole file, against what the store says."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    if path.stat().st_size != entry.size or (entry.sha256 and entry.sha256 != digest):
        raise ResourceError(f"{entry.key}: what arrived is not what the store says it has; nothing was kept of it")
    return digest


def _check_set(folder: Path, files: dict[str, tuple[int, str]]) -> None:
    """Where the set holds a manifest that `upload` wrote: everything it names is there, and is what was uploaded."""
    if MANIFEST not in files:
        return
    try:
        data = json.loads((folder / MANIFEST).read_bytes())
        named = {str(key): (int(size), str(digest)) for key, (size, digest) in data["files"].items()}
        ours = data["wmtp"] == "upload"
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # a file of that name that somebody else put there
    wrong = [key for key, (size, digest) in named.items() if key in files and files[key] != (size, digest)]
    if ours and wrong:
        raise ResourceError(f"{', '.join(sorted(wrong)[:5])}: not what was uploaded (sha256); nothing was kept of it")


def upload(storage: Storage, folder: Path, prefix: str) -> list[Entry]:
    """Puts a folder under `prefix`, its ``wmtp-manifest.json`` (key → size, sha256) last: who finds that finds all of it."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    for key in paths:
        relative(key)

    def put(item: tuple[str, Path]) -> tuple[Entry, str]:
        key, path = item
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return storage.put(f"{prefix}{key}", path, sha256=digest), digest

    with ThreadPoolExecutor(WORKERS) as pool:
        done = list(pool.map(put, paths.items()))
    files = {key: [entry.size, digest] for key, (entry, digest) in zip(paths, done, strict=True)}
    manifest = json.dumps({"wmtp": "upload", "files": files}, indent=1, sort_keys=True).encode()
    last = storage.put(f"{prefix}{MANIFEST}", manifest, sha256=hashlib.sha256(manifest).hexdigest())
    return [*(entry for entry, _ in done), last]
