"""A file is read once for its digest: while it is downloaded, or when it is asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmtp import digests
from wmtp.digests import cached_digest, digest_of_pieces, file_digest
from wmtp.storage import content
from wmtp.storage.cache import Cache
from wmtp.storage.transfer import download
from wmtp.testing import MemoryStorage

PIECE = 1000


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Pieces of 1,000 bytes, notes of the test's own, and a list of every opening of a file to hash it."""
    monkeypatch.setattr(digests, "PIECE_BYTES", PIECE)
    monkeypatch.setattr(content, "PIECE_BYTES", PIECE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "notes"))
    opened: list[Path] = []
    original = Path.open

    def counted(self: Path, *args: object, **options: object) -> object:
        opened.append(self)
        return original(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", counted)
    return opened


@given(data=st.binary(max_size=4 * PIECE))
def test_the_digest_is_the_sha256_of_the_pieces_digests(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("digest") / "file"
    path.write_bytes(data)
    pieces = [hashlib.sha256(data[i : i + PIECE]).hexdigest() for i in range(0, len(data), PIECE)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "PIECE_BYTES", PIECE)
        patch.setenv("XDG_CACHE_HOME", str(path.parent / "notes"))
        assert file_digest(path) == file_digest(path) == digest_of_pieces(pieces)
        assert file_digest(path, whole=True) == hashlib.sha256(data).hexdigest()
        if len(data) <= PIECE:
            assert file_digest(path) == hashlib.sha256(data).hexdigest()


def test_what_was_downloaded_is_not_read_again_for_its_digest(small_pieces: list[Path], tmp_path: Path) -> None:
    files = {"m/config.json": b"{}", "m/empty": b"", "m/weights.safetensors": bytes(range(256)) * 17}
    storage = MemoryStorage(files)
    entry = download(storage, list(storage.list("m/")), "m/", Cache(tmp_path / "cache"), "memory m/")
    small_pieces.clear()
    found = {name: file_digest(entry.path / name) for name in ("config.json", "empty", "weights.safetensors")}
    assert [path for path in small_pieces if "entries" in path.parts] == []
    local = tmp_path / "local"
    local.mkdir()
    for key, data in files.items():
        (local / key.removeprefix("m/")).write_bytes(data)
    assert found == {name: file_digest(local / name) for name in found}, "a copy on this machine is the same model"
    assert cached_digest([entry.path / name for name in found]) == cached_digest([local / name for name in found])
    assert {path.name for path in small_pieces if path.parent == local} == set(found), "that one had to be read"
    small_pieces.clear()
    cached_digest([local / name for name in found])
    assert [path for path in small_pieces if path.parent == local] == []


def test_a_file_that_changed_since_its_download_is_read(small_pieces: list[Path], tmp_path: Path) -> None:
    storage = MemoryStorage({"m/weights": b"x" * 2500})
    entry = download(storage, list(storage.list("m/")), "m/", Cache(tmp_path / "cache"), "memory m/")
    (entry.path / "weights").write_bytes(b"y" * 2500)
    (tmp_path / "copy").write_bytes(b"y" * 2500)
    assert file_digest(entry.path / "weights") == file_digest(tmp_path / "copy")
