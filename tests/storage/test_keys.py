"""Keys that want to write somewhere else, or over one another: refused or safe."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3_servers import S3Server
from storage_helpers import put

import wmtp
from wmtp.storage.cache import Cache
from wmtp.storage.keys import BadKey, check_collisions, relative
from wmtp.storage.transfer import download, upload
from wmtp.testing import MemoryStorage

HOSTILE = [
    "../x", "../../../escape", "a/../../../../escape", "/etc/escape", "//escape", "a//b", "a/./b", ".", "..", "a/..",
    "a\\b", "..\\..\\escape", "C:\\escape", "a\0b", "a\nb", "a\x1b[2Jb", "x" * 256, "ü" * 128, "d/" * 3 + "y" * 300,
]  # fmt: skip


@pytest.mark.parametrize("key", ["", *HOSTILE])
def test_such_a_key_names_no_file(key: str) -> None:
    with pytest.raises(BadKey):
        relative(key)


@pytest.mark.parametrize(
    "keys",
    [
        ("Model.bin", "model.bin"),
        ("A/x", "a/X"),
        ("straße", "STRASSE"),
        ("e\u0301", "\u00e9"),
        ("a", "a/b"),
        ("A", "a/b"),
    ],
)
def test_keys_that_are_one_file_somewhere_are_refused(keys: tuple[str, str]) -> None:
    with pytest.raises(BadKey):
        check_collisions(keys)
    check_collisions(("a/b", "a/c", "d", "x" * 255, "ü" * 127))


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("key", HOSTILE)
def test_nothing_is_written_for_a_storage_that_holds_one(key: str, tmp_path: Path, plugins: wmtp.Plugins) -> None:
    storage = MemoryStorage({f"datasets/mbpp/{key}": b"x", "datasets/mbpp/mbpp.jsonl": b"{}"})
    inner = tmp_path / "one/two/three/cache"
    loader = wmtp.create_data_loader(wmtp.LoaderConfig(cache_dir=inner), "mbpp", plugins=plugins, storage=storage)
    with pytest.raises(wmtp.ResourceError, match="key"):
        _ = loader.resource
    assert everything(tmp_path) == set()


@pytest.mark.parametrize("pair", [("W.bin", "w.bin"), ("w", "w/x")])
def test_nothing_is_written_for_two_that_collide(pair: tuple[str, str], tmp_path: Path) -> None:
    storage = MemoryStorage({f"m/{key}": b"x" for key in pair})
    with pytest.raises(BadKey):
        download(storage, list(storage.list("m/")), "m/", Cache(tmp_path), "source")
    assert everything(tmp_path) == set()


def test_a_real_server_may_hold_such_keys(moto: S3Server, open_storage, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Not only a fake: what a bucket really lists."""
    storage = open_storage(moto)
    cache = tmp_path / "deep/er/cache"
    for index, key in enumerate(("../../../escape", "a\\b", "a//b")):
        put(storage, f"m{index}/{key}", b"x")
        listed = list(storage.list(f"m{index}/"))
        assert [entry.key for entry in listed] == [f"m{index}/{key}"]
        with pytest.raises(BadKey):
            download(storage, listed, f"m{index}/", Cache(cache), "source")
    assert everything(tmp_path) == set()


def test_a_path_too_long_for_the_disk_is_told(tmp_path: Path) -> None:
    storage = MemoryStorage({"m/" + "/".join(["d" * 200] * 30): b"x"})
    with pytest.raises(OSError, match="File name too long"):
        download(storage, list(storage.list("m/")), "m/", Cache(tmp_path / "cache"), "source")
    assert list(Cache(tmp_path / "cache").entries()) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://", "names no bucket; write s3://bucket/key"),
        ("s3:///key", "names no bucket; write s3://bucket/key"),
        ("s3://bucket", "names no key; write s3://bucket/key"),
        ("s3://bucket/", "names no key; write s3://bucket/key"),
        ("s3://user:SESAME@bucket/key", "takes no user and no password"),
    ],
)
def test_a_url_without_a_bucket_or_a_key_is_refused(url: str, says: str, tmp_path: Path, plugins: wmtp.Plugins) -> None:
    config = wmtp.load_config({"paths": {"cache": str(tmp_path / "cache")}}, plugins=plugins)
    recipe = wmtp.load_recipe({"model": {"base_id": url}}, plugins=plugins)
    with pytest.raises(wmtp.ConfigError, match=says) as caught:
        wmtp.create_model_loader(config, recipe, plugins=plugins).resolve()
    assert "SESAME" not in str(caught.value)


def test_an_upload_follows_no_link_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "mine").write_bytes(b"mine")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    storage = MemoryStorage()
    with pytest.raises(wmtp.ConfigError, match="link"):
        upload(storage, folder, "runs/r/")
    assert list(storage.list("")) == []
