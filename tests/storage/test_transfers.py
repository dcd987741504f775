"""Downloads that are killed, that many ask for at once, that change meanwhile: the right bytes or none."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import proxied
from s3_servers import S3Server
from storage_helpers import downloading, opened

import wmtp
from wmtp.storage.cache import Cache, short
from wmtp.storage.local import LocalStorage
from wmtp.storage.transfer import download, upload

MIB = 1 << 20


@pytest.fixture
def served(rclone: S3Server, rclone_folder: Path, section: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """``served(bytes)``: an object ``models/m/weights.bin`` of random bytes, a small one beside it, and their section."""

    def made(size: int) -> tuple[dict[str, Any], bytes]:
        found = section(rclone)
        folder = rclone_folder / "served" / found["bucket"] / "here/models/m/deep"
        folder.mkdir(parents=True)
        body = os.urandom(size)
        (folder.parent / "weights.bin").write_bytes(body)
        (folder / "config.json").write_bytes(b"{}")
        return found, body

    return made


def kept_bytes(cache: Path, entries: dict[str, wmtp.Entry], piece: int) -> int:
    """Bytes of the ranges that the journal of the one build in a cache has."""
    (journal,) = cache.glob("building/*/journal.jsonl")
    sizes = {short(entry.key + entry.version): entry.size for entry in entries.values()}
    total = 0
    for line in journal.read_text(encoding="utf-8").splitlines()[1:]:
        if line.endswith("]"):  # the last one may be torn
            name, start, _ = json.loads(line)
            total += min(piece, sizes[name] - start)
    return total


def kill_and_go_on(section: dict[str, Any], body: bytes, cache: Path, piece: int, limit: int) -> None:
    """One kill after `limit` bytes. What is asked of the server by the next call is what the journal lacks, exactly."""
    dead = downloading(section, cache, piece, limit)
    assert dead.wait(300) == -signal.SIGKILL, dead.stderr.read()
    assert list(Cache(cache).entries()) == []
    kept = kept_bytes(cache, {entry.key: entry for entry in opened(section).list("models/m/")}, piece)
    with proxied(section["endpoint_url"]) as proxy:
        alive = downloading({**section, "endpoint_url": proxy.url}, cache, piece)
        assert alive.wait(300) == 0, alive.stderr.read()
        assert proxy.bytes_read <= len(body) + 2 - kept
        assert proxy.listings == 1
    (entry,) = Cache(cache).entries()
    assert (entry.path / "weights.bin").read_bytes() == body
    assert (entry.path / "deep/config.json").read_bytes() == b"{}"
    assert Cache(cache).verify(entry) == []
    assert list((cache / "building").glob("*.*.*.*")) == []


def test_a_killed_download_goes_on(served: Callable[..., Any], tmp_path: Path) -> None:
    section, body = served(24 * MIB)
    for number, limit in enumerate((1, 5 * MIB + 3, 20 * MIB)):
        kill_and_go_on(section, body, tmp_path / str(number), MIB, limit)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills_of_a_half_gigabyte_download(served: Callable[..., Any], tmp_path: Path) -> None:
    section, body = served(512 * MIB)
    draw = random.Random(30)
    for number, limit in enumerate(sorted(draw.randrange(1, len(body)) for _ in range(30))):
        cache = tmp_path / str(number)
        kill_and_go_on(section, body, cache, 32 * MIB, limit)
        shutil.rmtree(cache)


def test_kills_in_a_row_go_on_from_one_another(served: Callable[..., Any], tmp_path: Path) -> None:
    section, body = served(24 * MIB)
    for _ in range(4):
        dead = downloading(section, tmp_path, MIB, 4 * MIB)
        assert dead.wait(300) == -signal.SIGKILL
        assert list(Cache(tmp_path).entries()) == []
    with proxied(section["endpoint_url"]) as proxy:
        assert downloading({**section, "endpoint_url": proxy.url}, tmp_path, MIB).wait(300) == 0
        assert proxy.bytes_read < len(body) - 4 * MIB
    (entry,) = Cache(tmp_path).entries()
    assert (entry.path / "weights.bin").read_bytes() == body


def test_eight_processes_at_once_fetch_one_copy(served: Callable[..., Any], tmp_path: Path) -> None:
    section, body = served(48 * MIB)
    with proxied(section["endpoint_url"]) as proxy:
        processes = [downloading({**section, "endpoint_url": proxy.url}, tmp_path, 8 * MIB) for _ in range(8)]
        for process in processes:
            assert process.wait(300) == 0, process.stderr.read()
        assert len(body) <= proxy.bytes_read <= 2 * (len(body) + 2)
        assert proxy.listings == 8
        print(f"{proxy.bytes_read / (len(body) + 2):.3f} copies")
    (entry,) = Cache(tmp_path).entries()
    assert (entry.path / "weights.bin").read_bytes() == body


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_without_locks_all_get_it_and_one_rename_wins(served: Callable[..., Any], tmp_path: Path, number: int) -> None:
    """A file system that cannot lock: everybody fetches, and nobody is hurt."""
    section, body = served(8 * MIB)
    script = f"import fcntl\ndef refuse(*_):\n    raise OSError({number}, 'no locks')\nfcntl.flock = refuse\n"
    processes = [downloading(section, tmp_path, MIB, before=script) for _ in range(4)]
    for process in processes:
        assert process.wait(300) == 0, process.stderr.read()
    (entry,) = Cache(tmp_path).entries()
    assert (entry.path / "weights.bin").read_bytes() == body
    assert list((tmp_path / "building").glob("*.*.*.*")) == []


@pytest.fixture
def big(tmp_path: Path) -> Path:
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(os.urandom(24 << 20))
    (folder / "deep").mkdir()
    (folder / "deep/config.json").write_bytes(b"{}")
    return folder


def test_damage_is_found_and_pruned(big: Path, tmp_path: Path) -> None:
    storage, cache = LocalStorage(big), Cache(tmp_path / "cache")
    entry = download(storage, list(storage.list("")), "", cache, "source")
    (entry.path / "deep/config.json").write_bytes(b"[]")
    assert cache.verify(entry) == ["source deep/config.json: its content has changed"]
    (entry.path / "deep/config.json").write_bytes(b"[] ")  # another size: no entry at all any more
    assert cache.latest("source") is None
    (entry.path / "deep/config.json").write_bytes(b"{}")
    assert [e.source for e in cache.prune(1 << 40)] == []
    assert [e.source for e in cache.prune(0)] == ["source"]
    assert list(cache.entries()) == []


def test_an_upload_has_its_manifest_last(big: Path, moto: S3Server, open_storage: Callable[..., Any]) -> None:
    manager = open_storage(moto)
    entries = upload(manager, big, "runs/one/")
    assert [entry.key for entry in entries][-1] == "runs/one/wmtp-manifest.json"
    manifest = json.loads(b"".join(manager.read(entries[-1], 0, entries[-1].size)))
    assert sorted(manifest["files"]) == ["deep/config.json", "weights.bin"]
