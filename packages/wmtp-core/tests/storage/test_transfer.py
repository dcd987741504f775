"""Transfers and their journal, without a server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import wmtp
from wmtp.storage import transfer
from wmtp.storage.cache import Cache
from wmtp.storage.journal import Journal


def test_wrong_content_is_refused_and_the_next_call_starts_afresh(tmp_path: Path) -> None:
    from wmtp.testing import MemoryStorage

    right, wrong = b"right", b"wrong"
    storage = MemoryStorage({"a": wrong})
    (entry,) = storage.list("")
    pinned = wmtp.Entry(entry.key, entry.size, entry.version, hashlib.sha256(right).hexdigest())
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
