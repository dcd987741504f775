"""From a storage into the cache: pinned ranges in parallel, a journal to resume from, checked and renamed whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TypeVar

from wmtp import digests
from wmtp.contracts.storage import Entry, ObjectChanged, ReadsInto, Storage
from wmtp.errors import ConfigError, ResourceError
from wmtp.storage import content
from wmtp.storage.cache import Cache, CacheEntry, short
from wmtp.storage.content import FileDigest, write_back
from wmtp.storage.journal import Journal
from wmtp.storage.keys import check_collisions, relative

T = TypeVar("T")
R = TypeVar("R")

MANIFEST = "wmtp-manifest.json"
WORKERS = 8
SMALL_WORKERS = 16
"""Threads where no object is larger than `SMALL_BYTES`: those wait for answers, not for bytes."""
SMALL_BYTES = 1 << 20
BLOCK_BYTES = 256 << 10
"""Bytes that are read, written and hashed at a time: more leave the processor's cache in between (512 KiB are a tenth better
on a quiet machine, and a fifth worse beside neighbours), fewer are more calls."""
WRITE_BACK = 8 << 20
"""Bytes of a range after which the disk is given them: at the end, fsync waits for what is left of this in each thread."""
RETRIES = 4
"""Attempts in a row that bring no byte, before a range is given up."""

Report = Callable[[str, int], None]
"""Called from several threads: ``("total", n)`` when it is known how many bytes there are, ``("kept", n)`` for those that an
earlier call left, ``("bytes", n)`` as they come."""


class DiskError(ResourceError):
    """Trouble with our own disk, which no further attempt mends."""


def name_of(entry: Entry, prefix: str) -> str:
    """What an object is called below its prefix; an object at the prefix itself keeps its own last name."""
    below = entry.key.removeprefix(prefix)
    if prefix and not prefix.endswith("/"):
        below = below.removeprefix("/")
    return below or entry.key.rpartition("/")[2]


def version_of(entries: Sequence[Entry]) -> str:
    """What pins a set of objects: a digest of keys, sizes and versions."""
    lines = sorted(f"{entry.key}\0{entry.size}\0{entry.version}" for entry in entries)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def download(
    storage: Storage,
    entries: Sequence[Entry],
    prefix: str,
    cache: Cache,
    source: str,
    report: Report | None = None,
    patterns: Sequence[str] | None = None,
) -> CacheEntry:
    """Brings a pinned set of objects into the cache and returns the complete entry.

    entries: the objects, as one listing pinned them; `prefix` is taken off their keys. patterns: what chose them among all
    that is under the prefix, for the manifest.

    Raises `ObjectChanged` if an object moved on meanwhile (list again), BadKey before anything is written, ResourceError for a
    transfer that keeps failing or content that is not what the store says, OSError for what the disk refuses.
    """
    names = {entry.key: name_of(entry, prefix) for entry in entries}
    for name in names.values():
        relative(name)
    check_collisions(names.values())
    version = version_of(entries)
    with cache.building(source, version) as build:
        if found := cache.find(source, version):  # another process was faster
            return found
        paths = {entry.key: build / "files" / relative(names[entry.key]) for entry in entries}
        journal = Journal(build / "journal.jsonl", content.PIECE_BYTES)
        try:
            _fetch(storage, entries, paths, journal, report or _silent)
        except ObjectChanged:
            shutil.rmtree(build, ignore_errors=True)  # nobody can ever fetch the rest of it
            raise
        finally:
            journal.close()
        try:
            files = dict(_threads(lambda e: (names[e.key], _finish(paths[e.key], e, journal)), entries))
            _check_set(build / "files", files)
        except (ResourceError, OSError):
            # Its journal vouches for bytes that are wrong, or that the disk did not take: nobody must go on from it.
            shutil.rmtree(build, ignore_errors=True)
            raise
        entry = cache.publish(build, source, version, files, patterns)
    if content.PIECE_BYTES == digests.PIECE_BYTES:
        for key, file in entry.files.items():
            digests.remember(entry.path / key, digests.digest_of_pieces(file.pieces))
    return entry


def _silent(event: str, count: int) -> None:
    """Where nobody watches."""


def _threads(work: Callable[[T], R], items: Sequence[T], workers: int = WORKERS, end: Event | None = None) -> list[R]:
    """The results of all items, on a few threads; the first error ends the rest before they start, and sets `end` for those
    that have."""
    with ThreadPoolExecutor(workers, thread_name_prefix="transfer") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            if end:
                end.set()
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(
    storage: Storage, entries: Sequence[Entry], paths: Mapping[str, Path], journal: Journal, report: Report
) -> None:
    """Every range that the journal does not have. The largest objects first, so that no long one is left for the end."""
    for folder in {path.parent for path in paths.values()}:
        folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        if entry.size > content.PIECE_BYTES or entry.size == 0:
            with paths[entry.key].open("ab") as file:  # content kept: ranges are written where they belong
                file.truncate(entry.size)
    report("total", sum(entry.size for entry in entries))
    jobs = []
    for entry in sorted(entries, key=lambda entry: -entry.size):
        for start, stop in _ranges(entry):
            if (_journalled(entry), start) in journal.done:
                report("kept", stop - start)
            else:
                jobs.append((entry, start, stop))
    small, end = all(entry.size <= SMALL_BYTES for entry in entries), Event()
    _threads(
        lambda job: _range(storage, *job, paths[job[0].key], journal, report, end),
        jobs,
        SMALL_WORKERS if small else WORKERS,
        end,
    )


def _ranges(entry: Entry) -> list[tuple[int, int]]:
    """[start, stop) of the ranges of an object; they are the pieces of its content."""
    step = content.PIECE_BYTES
    return [(start, min(entry.size, start + step)) for start in range(0, entry.size, step)]


def _journalled(entry: Entry) -> str:
    return short(entry.key + entry.version)


def _range(
    storage: Storage, entry: Entry, start: int, stop: int, path: Path, journal: Journal, report: Report, end: Event
) -> None:
    """One range: written and hashed as it comes, from where it broke off when it did; left where `end` is set."""
    at, failures = start, 0
    failure: Exception | None = None
    digest = hashlib.sha256()
    while failures < RETRIES:
        if failures:
            end.wait(0.1 * 2**failures)
        before = behind = at
        with _opened(path) as descriptor:
            try:
                for view in _views(storage, entry, at, stop):
                    view = view[: stop - at]
                    _write(descriptor, view, at, path)
                    digest.update(view)
                    at += len(view)
                    report("bytes", len(view))
                    if at - behind >= (WRITE_BACK if at < stop else SMALL_BYTES):
                        write_back(descriptor, behind, at - behind)
                        behind = at
                    if at == stop or end.is_set():  # whatever else a storage would say of it
                        break
            except (ObjectChanged, ResourceError):
                raise
            except Exception as error:  # noqa: BLE001  (storages raise what they like for a cut connection; it is told)
                failure = error
            else:
                failure = ResourceError(f"the body ended at byte {at} of {stop}")
        if end.is_set():
            return
        if at == stop:
            journal.add(_journalled(entry), start, digest.hexdigest())
            return
        failures = 1 if at > before else failures + 1
    said = failure if isinstance(failure, ResourceError) else f"{type(failure).__name__}: {failure}"
    raise ResourceError(
        f"{entry.key}: fetching bytes {at} to {stop} failed {RETRIES} times in a row: {said}"
    ) from failure


def _views(storage: Storage, entry: Entry, start: int, stop: int) -> Iterator[memoryview]:
    """The bytes of a range; each view holds until the next one."""
    if not isinstance(storage, ReadsInto):
        for data in storage.read(entry, start, stop):
            yield memoryview(data)
        return
    buffer = memoryview(bytearray(min(BLOCK_BYTES, stop - start)))
    for count in storage.read_into(entry, start, stop, buffer):
        if not isinstance(count, int) or not 0 < count <= len(buffer):
            raise ResourceError(
                f"{entry.key}: {type(storage).__name__}.read_into yielded {count!r:.40} for a buffer of {len(buffer)} bytes"
            )
        yield buffer[:count]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    except OSError as error:
        raise _unwritten(path, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, view: memoryview, at: int, path: Path) -> None:
    try:
        while view:
            written = os.pwrite(descriptor, view, at)
            at += written
            view = view[written:]
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> DiskError:
    return DiskError(f"cannot write {path}: {error.strerror}")


def _finish(path: Path, entry: Entry, journal: Journal) -> FileDigest:
    """The content of a whole file, on the disk: its size, and sha256 where the store has one, are what the store says."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    pieces = tuple(journal.done[_journalled(entry), start] for start, _ in _ranges(entry))
    if size != entry.size or (entry.sha256 and entry.sha256 != _whole(path, pieces)):
        raise ResourceError(f"{entry.key}: what arrived is not what the store says it has; nothing was kept of it")
    return FileDigest(size, pieces, entry.version)


def _whole(path: Path, pieces: tuple[str, ...]) -> str:
    """sha256 over a whole file; of several pieces it is read once more."""
    return pieces[0] if len(pieces) == 1 else _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named_by_manifest(data: bytes) -> dict[str, tuple[int, str]] | None:
    """Key → (size, sha256) as `upload` wrote it; ``None`` for a file of that name that somebody else put there."""
    try:
        read = json.loads(data)
        named = {str(key): (int(size), str(digest)) for key, (size, digest) in read["files"].items()}
        return named if read["wmtp"] == "upload" else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _check_set(folder: Path, files: Mapping[str, FileDigest]) -> None:
    """Where the set holds a manifest that `upload` wrote: everything it names is there, and is what was uploaded."""
    if MANIFEST not in files:
        return
    named = named_by_manifest((folder / MANIFEST).read_bytes())
    if named is None:
        return

    def is_wrong(key: str) -> bool:
        return (files[key].size, _whole(folder / key, files[key].pieces)) != named[key]

    here = [key for key in named if key in files]
    if wrong := [key for key, bad in zip(here, _threads(is_wrong, here), strict=True) if bad]:
        raise ResourceError(f"{', '.join(sorted(wrong)[:5])}: not what was uploaded (sha256); nothing was kept of it")


def _stamp(path: Path) -> tuple[int, int, int, int]:
    """What changes when a file does: its size first. The time of change of the inode cannot be set back as mtime can."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def upload(
    storage: Storage, folder: Path, prefix: str, report: Report | None = None, *, leave_out: Sequence[str] = ()
) -> list[Entry]:
    """Puts a folder under `prefix`, its ``wmtp-manifest.json`` (key → size, sha256) last: who finds that finds all of it.

    Links are not followed: what lies elsewhere was not asked for. Raises ConfigError for a link or an empty folder, BadKey
    for a name that is no key, ResourceError for a file that changed meanwhile, OSError for what cannot be read here or written
    there.
    """
    report = report or _silent
    found = sorted(folder.rglob("*"))
    if links := [path for path in found if path.is_symlink()]:
        raise ConfigError(
            f"{links[0]} is a link, and only what lies in {folder} is uploaded; replace it by what it names"
        )
    paths = {path.relative_to(folder).as_posix(): path for path in found if path.is_file()}
    for name in (MANIFEST, *leave_out):  # a manifest is of an earlier upload or download; this one gets its own
        paths.pop(name, None)
    if not paths:
        raise ConfigError(f"{folder} holds no file to upload")
    for key in paths:
        relative(f"{prefix}{key}")
    report("total", sum(path.stat().st_size for path in paths.values()))

    def put(item: tuple[str, Path]) -> tuple[Entry, str]:
        key, path = item
        before = _stamp(path)
        digest = _sha256(path)
        entry = storage.put(f"{prefix}{key}", path, sha256=digest)
        if _stamp(path) != before or entry.size != before[0]:
            raise ResourceError(
                f"{path} changed while it was uploaded, so nobody knows what the storage has of it now; the set has no new "
                "manifest. Run it again once nothing writes there."
            )
        report("bytes", entry.size)
        return entry, digest

    done = _threads(put, list(paths.items()))
    files = {key: [entry.size, digest] for key, (entry, digest) in zip(paths, done, strict=True)}
    manifest = json.dumps({"wmtp": "upload", "files": files}, indent=1, sort_keys=True).encode()
    last = storage.put(f"{prefix}{MANIFEST}", manifest, sha256=hashlib.sha256(manifest).hexdigest())
    return [*(entry for entry, _ in done), last]
