"""The middle of the chain: what the cache has of a storage, and what the storage has."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from wmtp.contracts.loading import Resource
from wmtp.contracts.storage import Entry, ObjectChanged, Storage
from wmtp.errors import ResourceError
from wmtp.storage.cache import Cache, CacheEntry, touch
from wmtp.storage.chain import NotHere, offline
from wmtp.storage.keys import BadKey
from wmtp.storage.transfer import MANIFEST, DiskError, Report, download, name_of, named_by_manifest, version_of

log = logging.getLogger("wmtp.storage")
LISTINGS = 3
IN_USE_SECONDS = 3600
"""Entries that were used so recently are never removed to hold the cache's limit."""
CACHE_ADVICE = "Free space, or set paths.cache in config.yaml to a folder that can be written."
STORAGE_ADVICE = (
    "Check the section storage in config.yaml, and the storage's credentials in the environment: `wmtp doctor CONFIG` says "
    "what it lacks."
)


def without_markers(entries: Iterable[Entry]) -> list[Entry]:
    """The objects less those that only stand for a folder, which consoles and file systems on top of a store leave there: a key
    that ends with a slash or Hadoop's ``_$folder$``, and an empty object that others lie below."""
    entries = [e for e in entries if not e.key.endswith("/") and not (e.size == 0 and e.key.endswith("_$folder$"))]
    folders = {"/".join(parts[:end]) for parts in (e.key.split("/") for e in entries) for end in range(1, len(parts))}
    return [e for e in entries if e.size or e.key not in folders]


class Remote:
    """One resource in one storage: a prefix, the cache in front of it, and a listing that is made once."""

    def __init__(
        self,
        storage: Storage,
        name: str,
        prefix: str,
        cache: Path,
        patterns: Sequence[str] | None,
        report: Report | None,
        limit: int | None = None,
    ) -> None:
        """limit: bytes that the cache may hold."""
        self._storage, self._name, self._prefix = storage, name, prefix
        self._cache, self._patterns, self._report, self._limit = Cache(cache), patterns, report, limit
        self.source = f"{name} {prefix}".strip()
        self._entries: list[Entry] | None = None
        self._failure: Exception | None = None

    def _list(self) -> list[Entry]:
        """The objects wanted, pinned. Raises NotHere where the storage cannot be asked."""
        if self._failure is not None:
            raise NotHere(f"it cannot be listed: {self._failure}", STORAGE_ADVICE)
        if offline():
            raise NotHere("WMTP_OFFLINE is set")
        if self._entries is None:
            try:
                entries = list(self._storage.list(self._prefix))
            except Exception as error:  # clients of storages raise what they like; kept, and told
                self._failure = error
                raise NotHere(f"it cannot be listed: {error}", STORAGE_ADVICE) from error
            self._entries = self._chosen(without_markers(e for e in entries if self._is_below(e.key)))
        return self._entries

    def _chosen(self, entries: list[Entry]) -> list[Entry]:
        """Those that were asked for. Where `wmtp upload` wrote the set, its manifest says what belongs to it: what an earlier
        upload left there does not. The manifest comes too, so that the rest is held to it."""
        by_name = {name_of(entry, self._prefix): entry for entry in entries}
        manifest = by_name.get(MANIFEST)
        named = self._named(manifest) if manifest else None
        if named is not None:
            if lacking := sorted(set(named) - set(by_name)):
                raise NotHere(f"it is not whole: its manifest names {lacking[0]!r}, which is not there")
            by_name = {name: entry for name, entry in by_name.items() if name in named or name == MANIFEST}
        # An object at the prefix itself was asked for by its key.
        chosen = {name: e for name, e in by_name.items() if e.key == self._prefix or self._matches(name)}
        if chosen and named is not None and manifest:
            chosen[MANIFEST] = manifest
        return list(chosen.values())

    def _named(self, manifest: Entry) -> dict[str, tuple[int, str]] | None:
        """What the set's manifest names; read from the cache where that has it."""
        for entry in self._cache.entries(self.source):
            if MANIFEST in entry.files and entry.files[MANIFEST].version == manifest.version:
                return named_by_manifest((entry.path / MANIFEST).read_bytes())
        try:
            return (
                named_by_manifest(b"".join(self._storage.read(manifest, 0, manifest.size))) if manifest.size else None
            )
        except Exception as error:  # clients of storages raise what they like; told
            raise NotHere(f"its manifest {manifest.key} cannot be read: {error}", STORAGE_ADVICE) from error

    def _is_below(self, key: str) -> bool:
        """Whether an object is at the prefix itself, or below it; ``models/x2`` is not below ``models/x``."""
        folder = self._prefix if self._prefix.endswith("/") or not self._prefix else f"{self._prefix}/"
        return key == self._prefix or key.startswith(folder)

    def _matches(self, name: str) -> bool:
        return not self._patterns or any(fnmatch.fnmatch(name, pattern) for pattern in self._patterns)

    def _path(self, entry: CacheEntry) -> Path:
        """The entry's folder; for a reference to one object, that file."""
        single = len(entry.files) == 1 and next(iter(entry.files)) == self._prefix.rpartition("/")[2]
        return entry.path / next(iter(entry.files)) if single else entry.path

    def from_cache(self) -> Resource:
        """A complete entry of the version that the storage has now; unreachable, the latest there is."""
        try:
            entries = self._list()
        except NotHere as absent:
            entry = self._cache.latest(self.source, self._patterns)
            if entry is None:
                raise self._no_entry() from None
            log.warning("%s: %s; using what the cache has of it", self._name, absent)
        else:
            entry = self._find(entries) if entries else None
            if entry is None:
                raise NotHere("no complete entry of the storage's present version")
        touch(entry)
        return Resource(self._path(entry), "cache", entry.version)

    def _no_entry(self) -> NotHere:
        """Why the cache does not serve: it may have part of what is asked for, fetched for somebody who wanted less."""
        other = self._cache.any_of(self.source)
        if other is None or other.patterns is None:
            return NotHere("no complete entry")
        return NotHere(
            f"no entry of {', '.join(self._patterns) if self._patterns else 'all files'}; the one of "
            f"{', '.join(other.patterns)} is complete, and serves whoever wants no more than that: {other.path}",
            "A run that reads only what the cache has works as it is; `wmtp fetch` brings the rest once the storage answers.",
        )

    def _find(self, entries: list[Entry]) -> CacheEntry | None:
        """The entry of exactly these objects, or one that was fetched with more around them."""
        exact = self._cache.find(self.source, version_of(entries))
        versions = {name_of(entry, self._prefix): entry.version for entry in entries}
        return exact or self._cache.covering(self.source, versions)

    def _hold_limit(self) -> None:
        if self._limit is not None:
            for removed in self._cache.prune(self._limit, spare_seconds=IN_USE_SECONDS):
                log.info("removed from the cache, to hold paths.cache_size: %s", removed.source)

    def from_storage(self) -> Resource:
        """Downloads what is there. An object that changes meanwhile has all of it listed and pinned again."""
        for _ in range(LISTINGS):
            entries = self._list()
            if not entries:
                raise NotHere(f"nothing under {self._prefix or 'its root'}")
            try:
                entry = download(
                    self._storage, entries, self._prefix, self._cache, self.source, self._report, self._patterns
                )
            except ObjectChanged:
                self._entries = None
                continue
            except (ResourceError, BadKey) as error:
                raise NotHere(str(error), CACHE_ADVICE if isinstance(error, DiskError) else "") from error
            except OSError as error:
                raise NotHere(f"the cache {self._cache.root} cannot be written: {error}", CACHE_ADVICE) from error
            self._hold_limit()
            return Resource(self._path(entry), f"storage:{self._name}", entry.version)
        raise NotHere(f"it changed {LISTINGS} times while it was fetched")
