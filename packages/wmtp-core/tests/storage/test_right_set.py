"""What belongs to a set of objects, and what only lies beside it: leftovers, markers of folders, files that move."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import wmtp
from wmtp.storage import transfer
from wmtp.storage.cache import Cache
from wmtp.storage.chain import NotHere
from wmtp.storage.local import LocalStorage
from wmtp.storage.remote import Remote
from wmtp.testing import MemoryStorage


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def names(resource: wmtp.Resource) -> set[str]:
    return {p.relative_to(resource.path).as_posix() for p in resource.path.rglob("*") if p.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> LocalStorage:
    (tmp_path / "store").mkdir()
    return LocalStorage(tmp_path / "store")


def remote(
    storage: wmtp.Storage, tmp_path: Path, patterns: tuple[str, ...] | None = None, prefix: str = "m/"
) -> Remote:
    return Remote(storage, "there", prefix, tmp_path / "cache", patterns, None)


def test_what_an_earlier_upload_left_does_not_belong_to_the_next(store: LocalStorage, tmp_path: Path) -> None:
    transfer.upload(
        store, written(tmp_path / "1", config__json="{1}", a__safetensors="1", generation_config__json="{}"), "m/"
    )
    transfer.upload(store, written(tmp_path / "2", config__json="{2}", model__safetensors="22"), "m/")
    found = remote(store, tmp_path).from_storage()
    assert names(found) == {"config.json", "model.safetensors", transfer.MANIFEST}
    assert (found.path / "config.json").read_text() == "{2}"


def test_a_set_is_held_to_its_manifest_whatever_patterns_chose(store: LocalStorage, tmp_path: Path) -> None:
    transfer.upload(store, written(tmp_path / "1", config__json="{1}", a__safetensors="1"), "m/")
    (tmp_path / "store/m/a.safetensors").write_text("x")  # of another upload, whose manifest has not come yet
    with pytest.raises(NotHere, match="not what was uploaded"):
        remote(store, tmp_path, ("*.safetensors",)).from_storage()


def test_a_set_that_lacks_what_its_manifest_names_is_refused(store: LocalStorage, tmp_path: Path) -> None:
    transfer.upload(store, written(tmp_path / "1", config__json="{1}", a__safetensors="1"), "m/")
    (tmp_path / "store/m/a.safetensors").unlink()
    with pytest.raises(NotHere, match=r"manifest names 'a.safetensors', which is not there"):
        remote(store, tmp_path).from_storage()


def test_a_file_called_like_the_manifest_that_somebody_else_wrote_decides_nothing(tmp_path: Path) -> None:
    storage = MemoryStorage({f"m/{transfer.MANIFEST}": b"[1, 2]", "m/a.bin": b"a"})
    assert names(remote(storage, tmp_path).from_storage()) == {"a.bin", transfer.MANIFEST}


@pytest.mark.parametrize("prefix", ["m/", "m"])
def test_objects_that_only_stand_for_folders_are_no_files(prefix: str, tmp_path: Path) -> None:
    storage = MemoryStorage(
        {"m": b"", "m/": b"", "m/sub": b"", "m/sub/": b"", "m/sub/a.bin": b"a", "m/sub_$folder$": b"", "m/empty": b""}
    )
    assert names(remote(storage, tmp_path, prefix=prefix).from_storage()) == {"sub/a.bin", "empty"}


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written anew with its old times"])
def test_a_file_that_changes_while_it_is_uploaded_leaves_no_manifest(change: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "run", a__bin="0123456789")

    class Meddling(MemoryStorage):
        def put(self, key: str, source: Path | bytes, *, sha256: str) -> wmtp.Entry:
            entry = super().put(key, source, sha256=sha256)
            path, status = folder / "a.bin", (folder / "a.bin").stat()
            path.write_text({"grows": "0123456789+", "shrinks": "0"}.get(change, "9876543210"))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            return entry

    storage = Meddling({})
    with pytest.raises(wmtp.ResourceError, match=r"a\.bin changed while it was uploaded"):
        transfer.upload(storage, folder, "runs/one/")
    assert not [entry for entry in storage.list("") if entry.key.endswith(transfer.MANIFEST)]


def test_a_local_object_that_is_replaced_with_equal_size_and_times_is_another_version(tmp_path: Path) -> None:
    path = written(tmp_path / "store", a__bin="one") / "a.bin"
    storage = LocalStorage(tmp_path / "store")
    (before,) = storage.list("")
    status = path.stat()
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(wmtp.ObjectChanged):
        list(storage.read(before, 0, 3))


@pytest.mark.parametrize("host", ["node7.cluster.example.org", "mac.local", "plain", "4.5.6"])
def test_a_build_that_a_killed_process_left_is_taken_over_whatever_the_machine_is_called(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = (
        "import os, socket, sys; from pathlib import Path; from wmtp.storage.cache import Cache\n"
        f"socket.gethostname = lambda: {host!r}\n"
        "with Cache(Path(sys.argv[1])).building('source', 'v') as build:\n"
        "    (build / 'half').write_text('kept'); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", died, str(tmp_path)], check=False).returncode == 9
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    with Cache(tmp_path).building("source", "v") as build:
        assert (build / "half").read_text() == "kept"
        assert len(list((tmp_path / "building").glob("*.*.*.*"))) == 1
