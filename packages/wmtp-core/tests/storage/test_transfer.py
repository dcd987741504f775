"""Transfers and their journal, without a server."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import attrs
import pytest

import wmtp
from wmtp.storage import content, transfer
from wmtp.storage.cache import Cache
from wmtp.storage.journal import Journal


def test_wrong_content_is_refused_and_the_next_call_starts_afresh(tmp_path: Path) -> None:
    from wmtp.testing import MemoryStorage

    right, wrong = b"right", b"wrong"
    storage = MemoryStorage({"a": wrong})
    (entry,) = storage.list("")
    pinned = attrs.evolve(entry, sha256=hashlib.sha256(right).hexdigest())
    cache = Cache(tmp_path / "cache")
    with pytest.raises(wmtp.ResourceError, match="not what the store says"):
        transfer.download(storage, [pinned], "", cache, "source")
    assert list(cache.entries()) == []
    assert list((cache.root / "building").glob("*.*.*.*")) == []


def test_an_uploaded_set_is_checked_against_its_manifest(tmp_path: Path) -> None:
    from wmtp.storage.local import LocalStorage

    run = tmp_path / "run"
    run.mkdir()
    (run / "samples.jsonl").write_bytes(b"{}\n")
    store = tmp_path / "store"
    store.mkdir()
    storage = LocalStorage(store)
    transfer.upload(storage, run, "runs/one/")
    whole = transfer.download(storage, list(storage.list("runs/one/")), "runs/one/", Cache(tmp_path / "a"), "s")
    assert (whole.path / "samples.jsonl").read_bytes() == b"{}\n"
    (store / "runs/one/samples.jsonl").write_bytes(b"[]\n")
    with pytest.raises(wmtp.ResourceError, match="not what was uploaded"):
        transfer.download(storage, list(storage.list("runs/one/")), "runs/one/", Cache(tmp_path / "b"), "s")


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file where the cache's folder should be: fails for root too, whom permissions do not stop."""
    from wmtp.storage.chain import NotHere
    from wmtp.storage.remote import Remote
    from wmtp.testing import MemoryStorage

    (tmp_path / "cache").write_bytes(b"")
    remote = Remote(MemoryStorage({"models/m/w": b"x"}), "mem", "models/m/", tmp_path / "cache", None, None)
    with pytest.raises(NotHere, match="cannot be written"):
        remote.from_storage()


def test_a_journal_of_another_boot_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, 1)
    journal.add("a", 0, "0a")
    journal.close()
    with path.open("a") as file:
        file.write('["b", 1')  # torn
    again = Journal(path, 1)
    again.add("c", 2, "0c")
    again.close()
    assert Journal(path, 1).done == {("a", 0): "0a", ("c", 2): "0c"}
    path.write_text('{"boot": "before", "range_bytes": 1}\n["a", 0, "0a"]\n')
    assert Journal(path, 1).done == {}


class Scripted:
    """One object, ``a``, read by a function of (start, stop)."""

    def __init__(self, data: bytes, read: Callable[[int, int], Iterator[bytes]]) -> None:
        self.data, self.by, self.asked = data, read, []  # type: ignore[var-annotated]

    def list(self, prefix: str) -> Iterator[wmtp.Entry]:
        yield wmtp.Entry(key="a", size=len(self.data), version="1", sha256=hashlib.sha256(self.data).hexdigest())

    def read(self, entry: wmtp.Entry, start: int, stop: int) -> Iterator[bytes]:
        self.asked.append((start, stop))
        return self.by(start, stop)

    def put(self, key: str, source: Path | bytes, *, sha256: str) -> wmtp.Entry:
        raise NotImplementedError


def fetched(storage: Any, tmp_path: Path) -> bytes:
    entry = transfer.download(storage, list(storage.list("")), "", Cache(tmp_path / "cache"), "source")
    return (entry.path / "a").read_bytes()


DATA = bytes(range(256)) * 40


@pytest.mark.parametrize(
    "then", [ConnectionResetError("reset"), http.client.IncompleteRead(b""), RuntimeError("mine"), b"more" * 9]
)
def test_a_range_is_done_when_its_last_byte_has_come(tmp_path: Path, then: Exception | bytes) -> None:
    """Whatever is said, or sent, behind it."""

    def read(start: int, stop: int) -> Iterator[bytes]:
        yield DATA[start:stop]
        while isinstance(then, bytes):
            yield then
        raise then

    storage = Scripted(DATA, read)
    assert fetched(storage, tmp_path) == DATA
    assert storage.asked == [(0, len(DATA))]


@pytest.mark.parametrize(
    "error",
    [OSError("cut"), FileNotFoundError(2, "gone", "/share"), http.client.BadStatusLine("x"), RuntimeError("mine")],
)
def test_whatever_a_storage_raises_is_a_cut_connection(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where it goes on, nothing is asked for twice; trouble of its disk is not taken for ours."""

    class Hasty(Event):
        def wait(self, timeout: float | None = None) -> bool:
            return self.is_set()

    monkeypatch.setattr(transfer, "Event", Hasty)

    def read(start: int, stop: int) -> Iterator[bytes]:
        yield DATA[start : start + 3000]
        raise error

    storage = Scripted(DATA, read)
    assert fetched(storage, tmp_path) == DATA
    assert [start for start, _ in storage.asked] == list(range(0, len(DATA), 3000))

    def never(start: int, stop: int) -> Iterator[bytes]:
        raise error
        yield b""

    with pytest.raises(wmtp.ResourceError, match=f"failed 4 times in a row: {type(error).__name__}") as told:
        fetched(Scripted(DATA, never), tmp_path / "other")
    assert not isinstance(told.value, transfer.DiskError)


@pytest.mark.parametrize("count", [0, -1, 5000, None, 2.0, b"data"])
def test_a_read_into_that_miscounts_is_named(tmp_path: Path, count: Any) -> None:
    """It would be a file of other bytes."""

    class Miscounting(Scripted):
        def read_into(self, entry: wmtp.Entry, start: int, stop: int, buffer: memoryview) -> Iterator[int]:
            yield count

    storage = Miscounting(DATA[:4000], lambda start, stop: iter(()))
    with pytest.raises(wmtp.ResourceError, match=f"a: Miscounting.read_into yielded {count!r}"):
        fetched(storage, tmp_path)


def test_one_range_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have started, between two blocks: an endless one would hold the error, or Ctrl-C, for ever."""
    monkeypatch.setattr(content, "PIECE_BYTES", 5120)
    started = Event()

    def read(start: int, stop: int) -> Iterator[bytes]:
        if start:
            while True:
                started.set()
                yield b""
                time.sleep(0.001)
        assert started.wait(30)
        raise wmtp.ObjectChanged("a")

    with pytest.raises(wmtp.ObjectChanged):
        fetched(Scripted(DATA, read), tmp_path)
