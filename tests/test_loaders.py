"""Where a model or a data set comes from: local, cache, S3 or nowhere, against a real S3 server on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.storage.cache import Cache
from wmtp.storage.keys import BadKey, check_collisions, relative
from wmtp.storage.transfer import download, upload
from wmtp.testing import StorageContract

boto3 = pytest.importorskip("boto3")
pytest.importorskip("moto", reason='pip install "moto[server]"')
BUCKET = "wmtp-tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A moto server of this module's own. Its secrets are any; the environment gives them to boto3's chain."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            pytest.fail("the S3 server did not start")
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("WMTP_MODEL_BASE", raising=False)


@pytest.fixture
def section(server: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """``storage`` of a configuration, with a prefix of this test's own in a bucket that exists."""
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    prefix = f"{abs(hash(request.node.nodeid))}-{time.monotonic_ns()}/"
    s3 = {"bucket": BUCKET, "region": "us-east-1", "prefix": prefix, "endpoint_url": server, "addressing_style": "path"}
    return {"mode": "s3", "s3": s3}


@pytest.fixture
def manager(section: dict[str, Any]) -> Any:
    from wmtp_s3 import create_s3_manager

    made = create_s3_manager({"storage": section})
    assert made is not None
    return made


@pytest.fixture(scope="module")
def plugins() -> wmtp.Plugins:
    return wmtp.create_plugin_manager()


ROW = {
    "task_id": 11, "text": "Add one.", "code": "def f(x):\n    return x + 1", "test_list": ["assert f(1) == 2"],
    "test_setup_code": "", "challenge_test_list": [],
}  # fmt: skip


def put(manager: Any, key: str, data: bytes) -> None:
    import hashlib

    manager.put(key, data, sha256=hashlib.sha256(data).hexdigest())


def environment(plugins: wmtp.Plugins, tmp_path: Path, section: Any, **paths: Any) -> wmtp.Environment:
    return wmtp.load_environment(
        {"storage": section, "paths": {"cache": str(tmp_path / "cache"), **paths}}, plugins=plugins
    )


class TestS3(StorageContract):
    @pytest.fixture(autouse=True)
    def _storage(self, manager: Any) -> None:
        self._manager = manager

    def storage(self) -> Any:
        return self._manager


class TestLocal(StorageContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._root = tmp_path / "root"
        self._root.mkdir()

    def storage(self) -> Any:
        from wmtp.storage.local import LocalStorage

        return LocalStorage(self._root)


class TestMemory(StorageContract):
    def storage(self) -> Any:
        from wmtp.testing import MemoryStorage

        return MemoryStorage()


def test_data_from_s3_then_from_the_cache_even_offline(
    plugins: wmtp.Plugins, tmp_path: Path, section: Any, manager: Any
) -> None:
    put(manager, "datasets/mbpp/mbpp.jsonl", json.dumps(ROW).encode() + b"\n")
    config = environment(plugins, tmp_path, section)
    first = wmtp.create_data_loader(config, "mbpp", plugins=plugins)
    assert [row["task_id"] for row in first.rows("test")] == [11]
    assert first.resource.source.startswith("storage:s3")
    again = wmtp.create_data_loader(config, "mbpp", plugins=plugins)
    assert again.resource.source == "cache"
    section["s3"]["endpoint_url"] = config.storage.settings.endpoint_url
    unplugged = {**section, "s3": {**section["s3"], "retries": 1, "connect_timeout": 1.0}}
    gone = environment(plugins, tmp_path, unplugged)
    object.__setattr__(gone.storage.settings, "bucket", BUCKET)
    offline = wmtp.create_data_loader(gone, "mbpp", plugins=plugins)
    assert offline.resource.source == "cache"


def test_a_new_version_is_fetched(plugins: wmtp.Plugins, tmp_path: Path, section: Any, manager: Any) -> None:
    put(manager, "datasets/mbpp/mbpp.jsonl", json.dumps(ROW).encode())
    config = environment(plugins, tmp_path, section)
    assert next(iter(wmtp.create_data_loader(config, "mbpp", plugins=plugins).rows("test")))["text"] == "Add one."
    put(manager, "datasets/mbpp/mbpp.jsonl", json.dumps({**ROW, "text": "Changed."}).encode())
    newer = wmtp.create_data_loader(config, "mbpp", plugins=plugins)
    assert [row["text"] for row in newer.rows("test")] == ["Changed."]


def test_a_local_copy_wins_and_an_unreachable_storage_does_not_matter(plugins: wmtp.Plugins, tmp_path: Path) -> None:
    local = tmp_path / "mine.jsonl"
    local.write_text(json.dumps(ROW) + "\n")
    section = {"mode": "s3", "s3": {"bucket": "nowhere", "endpoint_url": "http://127.0.0.1:9", "retries": 1}}
    config = environment(plugins, tmp_path, section, datasets={"mbpp_local": str(local)})
    loader = wmtp.create_data_loader(config, "mbpp", plugins=plugins)
    assert loader.resource.source == "local"


def test_none_lists_every_place_with_its_reason(plugins: wmtp.Plugins, tmp_path: Path, section: Any) -> None:
    config = environment(plugins, tmp_path, section, datasets={"mbpp_local": str(tmp_path / "absent")})
    with pytest.raises(wmtp.ResourceError) as caught:
        _ = wmtp.create_data_loader(config, "mbpp", plugins=plugins).resource
    told = str(caught.value)
    for part in ("1. local copy", "does not exist", "2. cache", "3. storage s3", "nothing under", "4. hub", "offline"):
        assert part in told, told


def test_an_injected_manager_is_used(plugins: wmtp.Plugins, tmp_path: Path, manager: Any) -> None:
    put(manager, "datasets/mbpp/mbpp.jsonl", json.dumps(ROW).encode())
    loader = wmtp.create_data_loader(wmtp.LoaderConfig(cache_dir=tmp_path / "c"), "mbpp", plugins=plugins)
    loader.s3_manager = manager
    assert loader.storage is manager
    assert [row["task_id"] for row in loader.rows("test")] == [11]


def test_a_loader_mapping_with_flat_keys_is_refused(plugins: wmtp.Plugins) -> None:
    with pytest.raises(wmtp.ConfigError, match="storage_mode"):
        wmtp.create_data_loader({"storage_mode": "s3"}, "mbpp", plugins=plugins)


def test_a_url_is_a_data_path(plugins: wmtp.Plugins, tmp_path: Path, section: Any, manager: Any) -> None:
    put(manager, "anywhere/rows.jsonl", json.dumps(ROW).encode())
    url = f"s3://{BUCKET}/{section['s3']['prefix']}anywhere/rows.jsonl"
    config = environment(plugins, tmp_path, section)
    loader = wmtp.create_data_loader(config, "mbpp", plugins=plugins, path=None)
    loader = type(loader)("mbpp", loader._remotes, url, None)
    assert [row["task_id"] for row in loader.rows("test")] == [11]


@pytest.mark.parametrize(("by", "variant"), [("storage", "7B_1T_4"), ("url", "7B_1T_1"), ("url", "7B_200B_4")])
def test_a_model_comes_through_s3_and_answers(
    plugins: wmtp.Plugins,
    tmp_path: Path,
    section: Any,
    manager: Any,
    shared: Path,
    by: str,
    variant: str,
    same_as_reference: Any,
) -> None:
    tiny = shared / "data/meta-mtp-tiny"
    key = "models/facebook--multi-token-prediction/"
    for name in ("tokenizer.model", f"{variant}/params.json", f"{variant}/consolidated.pth"):
        put(manager, key + name, (tiny / name).read_bytes())
    model = {"variant": variant, "loader": "meta-mtp"}
    if by == "url":
        model["base_id"] = f"s3://{BUCKET}/{section['s3']['prefix']}{key}"
    recipe = wmtp.load_recipe({"model": model}, plugins=plugins)
    loader = wmtp.create_model_loader(environment(plugins, tmp_path, section), recipe, plugins=plugins)
    engine = loader.load()
    request = wmtp.GenerationRequest(evaluator="e", problem="p", index=0, prompt="Write", max_new_tokens=4)
    (completion,) = engine.generate([request], wmtp.Sampling())
    assert completion.finish_reason in ("stop", "length")
    assert engine.identity["format"] == "meta-mtp"
    same_as_reference(loader.resolve().path, variant)


def test_a_copy_of_another_variant_is_skipped(plugins: wmtp.Plugins, tmp_path: Path, shared: Path) -> None:
    tiny = str(shared / "data/meta-mtp-tiny")
    copy = {"id": "facebook/multi-token-prediction", "variant": "7B_200B_4", "path": tiny}
    config = environment(plugins, tmp_path, {"mode": "local"}, models={"base_local": copy})
    recipe = wmtp.load_recipe({"model": {"variant": "7B_1T_4"}}, plugins=plugins)
    with pytest.raises(wmtp.ResourceError, match=r"is a copy of facebook/multi-token-prediction \(7B_200B_4\)"):
        wmtp.create_model_loader(config, recipe, plugins=plugins).resolve()


def test_the_environment_chooses_where_the_recipe_is_silent(
    plugins: wmtp.Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = environment(plugins, tmp_path, {"mode": "local"})

    def chosen(model: dict[str, Any]) -> tuple[str, str | None]:
        loader = wmtp.create_model_loader(config, wmtp.load_recipe({"model": model}, plugins=plugins), plugins=plugins)
        return loader.reference, loader.variant

    assert chosen({}) == ("facebook/multi-token-prediction", "7B_1T_4")
    monkeypatch.setenv("WMTP_MODEL_BASE", "some/model")
    assert chosen({}) == ("some/model", None)
    assert chosen({"base_id": "other/model"}) == ("other/model", None)


# create_s3_manager


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (7, "not a mapping"),
        ({}, "no section storage"),
        ({"storage_mode": "s3", "s3_config": {"bucket": "b"}}, "flat keys are gone"),
        ({"storage": {"mode": "local"}}, "'local', not 's3'"),
        ({"storage": {"mode": "s3"}}, "no section storage.s3"),
        ({"storage": {"mode": "s3", "s3": {}}}, "bucket"),
        ({"storage": {"mode": "s3", "s3": {"bucket": 5}}}, "bucket"),
        ({"storage": {"mode": "s3", "s3": {"bucket": "b", "regoin": "x"}}}, "region"),
    ],
)
def test_a_bad_configuration_is_a_warning_and_none(config: Any, says: str) -> None:
    from wmtp_s3 import create_s3_manager

    with pytest.warns(UserWarning, match=says):
        assert create_s3_manager(config) is None


def test_an_environment_is_a_configuration(plugins: wmtp.Plugins, tmp_path: Path, section: Any) -> None:
    from wmtp_s3 import create_s3_manager

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert create_s3_manager(environment(plugins, tmp_path, section)) is not None


def test_errors_hold_no_credential(section: Any) -> None:
    from wmtp_s3 import create_s3_manager

    broken = {**section, "s3": {**section["s3"], "bucket": "no-such-bucket-here"}}
    made = create_s3_manager({"storage": broken})
    with pytest.raises(OSError, match="NoSuchBucket") as caught:
        list(made.list(""))
    assert "tests" not in str(caught.value).replace("wmtp-tests", "")


# transfers


class Slow:
    """A folder whose reads take their time, and count their bytes."""

    def __init__(self, root: Path) -> None:
        from wmtp.storage.local import LocalStorage

        self._inner = LocalStorage(root)
        self.read_bytes = 0

    def list(self, prefix: str) -> Any:
        return self._inner.list(prefix)

    def read(self, entry: Any, start: int, stop: int) -> Any:
        for data in self._inner.read(entry, start, stop):
            self.read_bytes += len(data)
            yield data

    def put(self, key: str, source: Any, *, sha256: str) -> Any:
        return self._inner.put(key, source, sha256=sha256)


KILLED = """
import sys
from pathlib import Path
from wmtp.storage import transfer
from wmtp.storage.cache import Cache
from wmtp.storage.local import LocalStorage
import os
transfer.RANGE_BYTES = 1 << 20
transfer.WORKERS = 2
seen = 0
def report(count):
    global seen
    seen += count
    if seen > int(sys.argv[3]):
        os.kill(os.getpid(), 9)
storage = LocalStorage(Path(sys.argv[1]))
transfer.download(storage, list(storage.list("")), "", Cache(Path(sys.argv[2])), "source", report)
"""


@pytest.fixture
def big(tmp_path: Path) -> Path:
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(os.urandom(24 << 20))
    (folder / "deep").mkdir()
    (folder / "deep/config.json").write_bytes(b"{}")
    return folder


def test_a_killed_download_goes_on_and_nothing_wrong_is_ever_there(
    big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wmtp.storage import transfer

    cache = tmp_path / "cache"
    for after in (1 << 20, 3 << 20, 5 << 20, 7 << 20):  # bytes of that process; what is journalled is not fetched again
        done = subprocess.run([sys.executable, "-c", KILLED, str(big), str(cache), str(after)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert list(Cache(cache).entries()) == []
    monkeypatch.setattr(transfer, "RANGE_BYTES", 1 << 20)
    storage = Slow(big)
    entry = download(storage, list(storage.list("")), "", Cache(cache), "source")
    assert (entry.path / "weights.bin").read_bytes() == (big / "weights.bin").read_bytes()
    assert storage.read_bytes < 16 << 20, "ranges in the journal were fetched again"
    assert Cache(cache).verify(entry) == []
    assert list((cache / "building").glob("*.*.*.*")) == []


def test_many_processes_get_one_copy(big: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(big), str(tmp_path / "cache"), str(1 << 40)]
    running = [subprocess.Popen(command) for _ in range(6)]
    assert [process.wait(120) for process in running] == [0] * 6
    (entry,) = Cache(tmp_path / "cache").entries()
    assert Cache(tmp_path / "cache").verify(entry) == []


def test_an_object_that_changes_meanwhile_is_never_stitched(big: Path, tmp_path: Path) -> None:
    storage = Slow(big)
    pinned = list(storage.list(""))
    (big / "weights.bin").write_bytes(os.urandom(24 << 20))
    with pytest.raises(wmtp.Changed):
        download(storage, pinned, "", Cache(tmp_path / "cache"), "source")
    assert list(Cache(tmp_path / "cache").entries()) == []


def test_damage_is_found_and_pruned(big: Path, tmp_path: Path) -> None:
    storage, cache = Slow(big), Cache(tmp_path / "cache")
    entry = download(storage, list(storage.list("")), "", cache, "source")
    (entry.path / "deep/config.json").write_bytes(b"[]")
    assert cache.verify(entry) == ["source deep/config.json: its content has changed"]
    (entry.path / "deep/config.json").write_bytes(b"[] ")  # another size: no entry at all any more
    assert cache.find("source") is None
    (entry.path / "deep/config.json").write_bytes(b"{}")
    assert [e.source for e in cache.prune(1 << 40)] == []
    assert [e.source for e in cache.prune(0)] == ["source"]
    assert list(cache.entries()) == []


def test_an_upload_has_its_manifest_last(big: Path, manager: Any) -> None:
    entries = upload(manager, big, "runs/one/")
    assert [entry.key for entry in entries][-1] == "runs/one/wmtp-manifest.json"
    manifest = json.loads(b"".join(manager.read(entries[-1], 0, entries[-1].size)))
    assert sorted(manifest["files"]) == ["deep/config.json", "weights.bin"]


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../b", "a\\b", "a\0b", "", "a//b", "x" * 300, "a/./b"])
def test_keys_that_climb_or_trick_are_refused(key: str) -> None:
    with pytest.raises(BadKey):
        relative(key)


@pytest.mark.parametrize("keys", [("Model.bin", "model.bin"), ("a", "a/b")])
def test_keys_that_collide_are_refused(keys: tuple[str, str]) -> None:
    with pytest.raises(BadKey):
        check_collisions(keys)
    check_collisions(("a/b", "a/c", "d"))


def test_a_storage_with_a_bad_key_writes_nothing_outside(
    plugins: wmtp.Plugins, tmp_path: Path, wmtp_plugins: Callable[..., Any]
) -> None:
    from wmtp.testing import MemoryStorage

    storage = MemoryStorage({"datasets/mbpp/../../../escape": b"x"})
    loader = wmtp.create_data_loader(wmtp.LoaderConfig(cache_dir=tmp_path / "c"), "mbpp", plugins=plugins)
    loader.storage = storage
    with pytest.raises(wmtp.ResourceError, match=r"'\.\.' parts"):
        _ = loader.resource
    assert not list(tmp_path.rglob("escape"))
