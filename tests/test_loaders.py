"""Where a model or a data set comes from: local, cache, S3, hub or nowhere, counted by what the servers see."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fault_proxy import FaultProxy, proxied
from hub_server import Hub, Repository, files_of
from s3_servers import S3Server

import wmtp

BUCKET = "wmtp-tests"


@pytest.fixture
def watched(moto: S3Server) -> Iterator[FaultProxy]:
    """What moto is asked, seen by a proxy of this test's own."""
    with proxied(moto.url) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    for role in ("BASE", "RM", "REF"):
        monkeypatch.delenv(f"WMTP_MODEL_{role}", raising=False)


@pytest.fixture
def section(moto: S3Server, watched: FaultProxy, request: pytest.FixtureRequest) -> dict[str, Any]:
    """``storage`` of a configuration, with a prefix of this test's own in a bucket that exists."""
    moto.client().create_bucket(Bucket=BUCKET)
    digest = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    s3 = {
        "bucket": BUCKET, "region": "us-east-1", "prefix": f"{digest}-{time.monotonic_ns()}/", "endpoint_url": watched.url,
        "addressing_style": "path", "retries": 1, "connect_timeout": 2.0,
    }  # fmt: skip
    return {"mode": "s3", "s3": s3}


@pytest.fixture
def manager(section: dict[str, Any]) -> Any:
    from wmtp_s3 import create_s3_manager

    made = create_s3_manager({"storage": section})
    assert made is not None
    return made


ROW = {
    "task_id": 11, "text": "Add one.", "code": "def f(x):\n    return x + 1", "test_list": ["assert f(1) == 2"],
    "test_setup_code": "", "challenge_test_list": [],
}  # fmt: skip


def put(manager: Any, key: str, data: bytes) -> None:
    manager.put(key, data, sha256=hashlib.sha256(data).hexdigest())


def environment(plugins: wmtp.Plugins, tmp_path: Path, section: Any, **paths: Any) -> wmtp.Config:
    return wmtp.load_config({"storage": section, "paths": {"cache": str(tmp_path / "cache"), **paths}}, plugins=plugins)


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


def test_what_failed_is_what_the_advice_is_about(
    plugins: wmtp.Plugins, tmp_path: Path, section: Any, manager: Any
) -> None:
    put(manager, "models/our--model/config.json", b"{}")
    (tmp_path / "file").write_text("no folder")

    def told(section: Any, cache: str) -> str:
        config = environment(plugins, tmp_path, section, cache=str(tmp_path / cache))
        recipe = wmtp.load_recipe({"model": {"base_id": "our/model"}}, plugins=plugins)
        with pytest.raises(wmtp.ResourceError, match="'our/model' could not be had") as caught:
            wmtp.create_model_loader(config, recipe, plugins=plugins).resolve()
        return str(caught.value).splitlines()[-1]

    assert "set paths.cache in config.yaml to a folder that can be written" in told(section, "file")
    nobody = {**section, "s3": {**section["s3"], "endpoint_url": "http://127.0.0.1:9"}}
    assert "Check the section storage in config.yaml" in told(nobody, "cache")


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
    loader = wmtp.create_data_loader(config, "mbpp", plugins=plugins, path=url)
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
    request = wmtp.GenerationRequest(
        key=wmtp.SampleKey(evaluator="e", problem="p", index=0), prompt="Write", max_new_tokens=4
    )
    (completion,) = engine.generate([request], wmtp.Sampling())
    assert completion.finish_reason in ("stop", "length")
    assert engine.identity["format"] == "meta-mtp"
    same_as_reference(loader.resolve().path, variant)


@pytest.mark.parametrize("by", ["storage", "url"])
@pytest.mark.parametrize("variant", ["7B_1T_4", None])
def test_metas_layout_is_recognised_under_any_name(
    plugins: wmtp.Plugins,
    tmp_path: Path,
    section: Any,
    manager: Any,
    shared: Path,
    watched: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
    variant: str | None,
    same_as_reference: Any,
) -> None:
    """No `model.loader`: what lies there tells. Of several variants, only the named one's weights are fetched."""
    tiny = shared / "data/meta-mtp-tiny"
    named = {"tokenizer.model", "7B_1T_4/params.json", "7B_1T_4/consolidated.pth"}
    others = {"7B_1T_1/params.json", "7B_1T_1/consolidated.pth"} if variant else set()
    files = {name: (tiny / name).read_bytes() for name in named | others}
    config = environment(plugins, tmp_path, section)
    for name, data in files.items():
        put(manager, f"models/our--tiny/{name}", data)
    where = f"s3://{BUCKET}/{section['s3']['prefix']}models/our--tiny" if by == "url" else "our/tiny"
    recipe = wmtp.load_recipe({"model": {"base_id": where, "variant": variant}}, plugins=plugins)
    watched.seen.clear()
    loader = wmtp.create_model_loader(config, recipe, plugins=plugins)
    engine = loader.load()
    request = wmtp.GenerationRequest(
        key=wmtp.SampleKey(evaluator="e", problem="p", index=0), prompt="Write", max_new_tokens=4
    )
    assert [c.tokens > 0 for c in engine.generate([request], wmtp.Sampling())] == [True]
    assert engine.identity["format"] == "meta-mtp"
    assert engine.origin["variant"] == "7B_1T_4"  # type: ignore[attr-defined]
    asked = " ".join(seen.path for seen in watched.reads)
    assert "7B_1T_4/consolidated.pth" in asked
    assert "7B_1T_1" not in asked
    meta_files = ("7B_1T_4/params.json", "7B_1T_4/consolidated*.pth", "tokenizer.model")
    same_as_reference(loader.resolve(meta_files).path, "7B_1T_4")
    monkeypatch.setenv("WMTP_OFFLINE", "1")
    watched.seen.clear()
    offline = wmtp.create_model_loader(config, recipe, plugins=plugins).load()
    assert offline.identity == engine.identity
    assert watched.seen == []


def test_a_variant_that_was_prefetched_serves_offline(
    plugins: wmtp.Plugins,
    tmp_path: Path,
    section: Any,
    manager: Any,
    shared: Path,
    monkeypatch: pytest.MonkeyPatch,
    wmtp: Any,
) -> None:
    """In Meta's layout only that variant; of a folder in transformers format all of it."""
    from wmtp import create_model_loader, load_config, load_recipe
    from wmtp.models.convert import convert

    tiny = shared / "data/meta-mtp-tiny"
    converted = convert(tiny, tmp_path / "converted", variant="7B_1T_4")
    for key, folder in (("tiny", tiny), ("converted", converted)):
        for name, data in files_of(folder).items():
            put(manager, f"models/our--{key}/{name}", data)
    body = {"storage": section, "paths": {"cache": "cache"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    config = load_config(tmp_path / "config.yaml", plugins=plugins)
    for key, form in (("tiny", "meta-mtp"), ("converted", "transformers")):
        done = wmtp("fetch", f"our/{key}", "--config", "config.yaml", "--variant", "7B_1T_4")
        assert done.returncode == 0, done.stderr
        recipe = load_recipe({"model": {"base_id": f"our/{key}", "variant": "7B_1T_4"}}, plugins=plugins)
        with monkeypatch.context() as patched:
            patched.setenv("WMTP_OFFLINE", "1")
            assert create_model_loader(config, recipe, plugins=plugins).load().identity["format"] == form
    assert not list((tmp_path / "cache").rglob("7B_1T_1"))


def test_several_variants_and_none_named_lists_them(
    plugins: wmtp.Plugins, tmp_path: Path, section: Any, manager: Any, shared: Path
) -> None:
    tiny = shared / "data/meta-mtp-tiny"
    for name in ("tokenizer.model", "7B_1T_4/params.json", "7B_1T_1/params.json"):
        put(manager, f"models/our--tiny/{name}", (tiny / name).read_bytes())
    config = environment(plugins, tmp_path, section)

    def load(variant: str | None) -> None:
        recipe = wmtp.load_recipe({"model": {"base_id": "our/tiny", "variant": variant}}, plugins=plugins)
        wmtp.create_model_loader(config, recipe, plugins=plugins).load()

    with pytest.raises(wmtp.ConfigError, match=r"has no 70B/params\.json, .* name another variant"):
        load("70B")
    with pytest.raises(wmtp.ConfigError, match="variants 7B_1T_1, 7B_1T_4; name one"):
        load(None)


def test_a_converted_model_comes_through_s3_with_its_variant_named(
    plugins: wmtp.Plugins, tmp_path: Path, section: Any, manager: Any, shared: Path
) -> None:
    from wmtp.models.convert import convert

    folder = convert(shared / "data/meta-mtp-tiny", tmp_path / "converted", variant="7B_1T_4")
    for name, data in files_of(folder).items():
        put(manager, f"models/our--tiny/{name}", data)
    recipe = wmtp.load_recipe({"model": {"base_id": "our/tiny", "variant": "7B_1T_4"}}, plugins=plugins)
    engine = wmtp.create_model_loader(environment(plugins, tmp_path, section), recipe, plugins=plugins).load()
    assert engine.identity["format"] == "transformers"
    assert engine.origin["variant"] == "7B_1T_4"  # type: ignore[attr-defined]
    wrong = wmtp.load_recipe({"model": {"base_id": "our/tiny", "variant": "7B_1T_1"}}, plugins=plugins)
    with pytest.raises(wmtp.ConfigError, match="was converted from variant 7B_1T_4, not 7B_1T_1"):
        wmtp.create_model_loader(environment(plugins, tmp_path, section), wrong, plugins=plugins).load()


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


# The order, seen from outside: the command as a user runs it, and what S3 and the hub are asked.

MODEL = "our/model"
MBPP = "google-research-datasets/mbpp"


@pytest.fixture(scope="module")
def files(tiny_llama: Path) -> dict[str, dict[str, bytes]]:
    """What there is to find: a model, and rows of a data set."""
    return {"model": files_of(tiny_llama), "data": {"mbpp.jsonl": json.dumps(ROW).encode() + b"\n"}}


@pytest.fixture
def places(
    tmp_path: Path, section: dict[str, Any], manager: Any, hub: Hub, files: dict[str, dict[str, bytes]]
) -> Callable[..., Callable[[], None]]:
    """Puts what is asked for in the places that are named, and writes config.yaml."""

    def put_in(kind: str, *names: str) -> None:
        body: dict[str, Any] = {"storage": section, "paths": {"cache": "cache"}}
        if "local" in names:
            folder = tmp_path / "local"
            folder.mkdir()
            for name, data in files[kind].items():
                (folder / name).write_bytes(data)
            named = {"models": {"base_local": {"id": MODEL, "path": "local"}}}
            body["paths"] |= named if kind == "model" else {"datasets": {"mbpp_local": "local/mbpp.jsonl"}}
        if "s3" in names:
            key = "models/our--model" if kind == "model" else "datasets/mbpp"
            for name, data in files[kind].items():
                put(manager, f"{key}/{name}", data)
        if "hub" in names:
            name = f"models/{MODEL}" if kind == "model" else f"datasets/{MBPP}"
            found = files[kind] if kind == "model" else {"full/test-00000-of-00001.parquet": b"PAR1"}
            hub.repositories[name] = Repository({"a" * 40: found}, {"main": "a" * 40})
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")

    return put_in


@pytest.fixture
def fetch(wmtp: Any, online: dict[str, str], hub: Hub, watched: FaultProxy) -> Callable[..., Any]:
    """``wmtp fetch``, with what the servers had seen before forgotten."""

    def run(kind: str, **env: str) -> Any:
        hub.requests.clear()
        watched.seen.clear()
        return wmtp("fetch", MODEL if kind == "model" else "mbpp", "--config", "config.yaml", **{**online, **env})

    return run


KINDS = pytest.mark.parametrize("kind", ["model", "data"])


@KINDS
@pytest.mark.parametrize("others", [(), ("s3", "hub")], ids=["only", "all"])
def test_a_local_copy_asks_nobody(
    kind: str, others: tuple[str, ...], places: Any, fetch: Any, hub: Hub, watched: FaultProxy
) -> None:
    places(kind, "local", *others)
    done = fetch(kind)
    assert done.returncode == 0, done.stderr
    assert "(from local)" in done.stdout
    assert watched.seen == []
    assert hub.requests == []


@KINDS
def test_s3_goes_before_the_hub_and_the_cache_before_both(
    kind: str, places: Any, fetch: Any, hub: Hub, watched: FaultProxy, files: Any
) -> None:
    places(kind, "s3", "hub")
    first = fetch(kind)
    assert first.returncode == 0, first.stderr
    assert "(from storage:s3" in first.stdout
    assert (watched.listings, len(watched.reads)) == (1, len(files[kind]))
    assert watched.bytes_read == sum(map(len, files[kind].values()))
    assert hub.requests == []
    again = fetch(kind)
    assert "(from cache)" in again.stdout, again.stderr
    assert (watched.listings, len(watched.seen)) == (1, 1), "a complete entry costs one listing"
    assert hub.requests == []
    for env in ({"WMTP_OFFLINE": "1"}, {"WMTP_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}):
        offline = fetch(kind, **env)
        assert "(from cache)" in offline.stdout, offline.stderr
        assert watched.seen == []
        assert hub.requests == []


@KINDS
def test_an_unreachable_s3_leaves_the_cache(
    kind: str, places: Any, fetch: Any, hub: Hub, tmp_path: Path, section: dict[str, Any]
) -> None:
    places(kind, "s3")
    assert fetch(kind).returncode == 0
    for fault in ("cut", "gone"):
        if fault == "gone":
            text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
            assert section["s3"]["endpoint_url"] in text
            # The same address as far as the cache is concerned, and nobody behind it.
            done = fetch(kind, HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")
        else:
            done = fetch(kind, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_EC2_METADATA_DISABLED="true")
        assert done.returncode == 0, done.stderr
        assert "(from cache)" in done.stdout
        assert "using what the cache has of it" in done.stderr
        assert hub.requests == []


@KINDS
def test_the_hub_comes_last(kind: str, places: Any, fetch: Any, hub: Hub, watched: FaultProxy) -> None:
    places(kind, "hub")
    done = fetch(kind)
    assert done.returncode == 0, done.stderr
    assert "(from hub)" in done.stdout
    assert (watched.listings, watched.reads) == (1, [])
    assert len(hub.files_sent()) > 0
    again = fetch(kind)
    assert "(from hub)" in again.stdout
    assert hub.files_sent() == []


@KINDS
def test_nowhere_names_every_place_in_order(kind: str, places: Any, fetch: Any) -> None:
    places(kind)
    done = fetch(kind)
    assert done.returncode == 2
    told = [line.strip() for line in done.stderr.splitlines()]
    starts = ["1. local copy", "2. cache", "3. storage s3", "4. hub"]
    for start, reason in zip(starts, ("not set", "no complete entry", "nothing under", "repository"), strict=True):
        (line,) = [line for line in told if line.startswith(start)]
        assert reason in line
    assert "paths." in told[-1], "what to do comes last"


def test_what_was_prefetched_serves_a_loader_that_wants_less(
    places: Any, fetch: Any, plugins: wmtp.Plugins, tmp_path: Path, watched: FaultProxy
) -> None:
    places("model", "s3")
    assert fetch("model").returncode == 0
    watched.seen.clear()
    config = wmtp.load_config(tmp_path / "config.yaml", plugins=plugins)
    recipe = wmtp.load_recipe({"model": {"base_id": MODEL}}, plugins=plugins)
    resource = wmtp.create_model_loader(config, recipe, plugins=plugins).resolve(("*.json", "*.safetensors"))
    assert resource.source == "cache"
    assert watched.reads == []


def test_offline_an_entry_of_fewer_files_is_named(
    places: Any, fetch: Any, plugins: wmtp.Plugins, tmp_path: Path
) -> None:
    """A run fetches what its loader reads; `wmtp fetch` asks for everything there is."""
    places("model", "s3")
    config = wmtp.load_config(tmp_path / "config.yaml", plugins=plugins)
    recipe = wmtp.load_recipe({"model": {"base_id": MODEL}}, plugins=plugins)
    path = wmtp.create_model_loader(config, recipe, plugins=plugins).resolve(("*.json", "*.safetensors")).path
    done = fetch("model", WMTP_OFFLINE="1")
    assert done.returncode == 2
    assert "no entry of all files; the one of *.json, *.safetensors is complete" in done.stderr
    assert str(path) in done.stderr
    assert "A run that reads only what the cache has works" in done.stderr.splitlines()[-1]


def test_a_sharded_model_comes_through_s3_and_answers(
    plugins: wmtp.Plugins, tmp_path: Path, section: Any, manager: Any, watched: FaultProxy
) -> None:
    """Shards and their index; it writes what the same model writes from its folder."""
    from wmtp.models.mtp_llama import MtpLlamaForCausalLM

    source, folder = Path(__file__).parents[1] / "examples/demo-model", tmp_path / "sharded"
    MtpLlamaForCausalLM.from_pretrained(source).save_pretrained(folder, max_shard_size="1MB")
    for path in source.glob("tokenizer*"):
        shutil.copy(path, folder)
    shards = list(folder.glob("*.safetensors"))
    assert len(shards) > 3
    for name, data in files_of(folder).items():
        put(manager, f"models/our--sharded/{name}", data)
    put(manager, "models/our--sharded2/model.safetensors", b"of another model")

    def answer(reference: str) -> tuple[str, Any]:
        recipe = wmtp.load_recipe({"model": {"base_id": reference}}, plugins=plugins)
        loader = wmtp.create_model_loader(environment(plugins, tmp_path, section), recipe, plugins=plugins)
        request = wmtp.GenerationRequest(
            key=wmtp.SampleKey(evaluator="e", problem="p", index=0),
            prompt='"""Write a function to add 7 to a number.',
            max_new_tokens=24,
        )
        (completion,) = loader.load().generate([request], wmtp.Sampling())
        return completion.text, loader

    watched.seen.clear()
    text, loader = answer("our/sharded")
    assert text
    assert watched.listings == 2, "once for config.json, which may refuse the model before its weights come"
    assert sum(".safetensors?" in seen.path or seen.path.endswith(".safetensors") for seen in watched.reads) == len(
        shards
    )
    assert all("sharded2" not in seen.path for seen in watched.reads)
    assert loader.resolve(("*.json",)).path.is_dir()
    assert answer(str(folder))[0] == text


@pytest.mark.parametrize(
    ("role", "default"), [("rm", "sfairXC/FsfairX-LLaMA3-RM-v0.1"), ("ref", "princeton-nlp/Sheared-LLaMA-1.3B")]
)
def test_the_models_beside_the_base_go_the_same_way(
    plugins: wmtp.Plugins,
    tmp_path: Path,
    section: Any,
    manager: Any,
    monkeypatch: pytest.MonkeyPatch,
    role: Any,
    default: str,
) -> None:
    recipe = wmtp.load_recipe({"model": {"base_id": "our/base", "variant": "v", "revision": "r"}}, plugins=plugins)

    def loader(**models: Any) -> Any:
        config = environment(plugins, tmp_path, section, models=models)
        return wmtp.create_model_loader(config, recipe, plugins=plugins, role=role)

    assert (loader().reference, loader().variant) == (default, None), "a recipe's model is the base"
    put(manager, f"models/{default.replace('/', '--')}/config.json", b"{}")
    assert loader().resolve().source.startswith("storage:s3")
    assert loader().resolve().source == "cache"
    copy = tmp_path / "copy"
    copy.mkdir()
    assert loader(**{f"{role}_local": str(copy)}).resolve().path == copy
    named = {f"{role}_local": {"id": "our/other", "path": str(copy)}}
    assert loader(**named).reference == "our/other"
    monkeypatch.setenv(f"WMTP_MODEL_{role.upper()}", default)
    assert loader(**named).resolve().source == "cache", "a copy of another model is skipped"


def test_a_loader_config_serves_models_too(
    plugins: wmtp.Plugins, tmp_path: Path, tiny_llama: Path, manager: Any
) -> None:
    recipe = wmtp.load_recipe({"model": {"base_id": "our/model"}}, plugins=plugins)
    copy = {"base": {"id": "our/model", "path": str(tiny_llama)}}
    made = wmtp.create_model_loader({"model_paths": copy, "cache_dir": str(tmp_path / "c")}, recipe, plugins=plugins)
    assert made.resolve().path == tiny_llama
    put(manager, "models/our--model/config.json", b"{}")
    handed = wmtp.create_model_loader(wmtp.LoaderConfig(cache_dir=tmp_path / "c"), recipe, plugins=plugins)
    handed.s3_manager = manager
    assert handed.resolve().source.startswith("storage:")
    default = wmtp.load_recipe({}, plugins=plugins)
    local = wmtp.LoaderConfig(local_path=tiny_llama, cache_dir=tmp_path / "c")
    assert wmtp.create_model_loader(local, default, plugins=plugins).resolve().path == tiny_llama
    with pytest.raises(wmtp.ConfigError, match="s3_config"):
        wmtp.create_model_loader({"s3_config": {"bucket": "b"}}, recipe, plugins=plugins)


def test_a_local_copy_of_another_model_is_skipped_and_the_log_says_so(
    plugins: wmtp.Plugins, tmp_path: Path, section: Any, manager: Any, caplog: pytest.LogCaptureFixture
) -> None:
    put(manager, "models/our--model/config.json", b"{}")
    copy = {"id": "our/other", "path": str(tmp_path)}
    recipe = wmtp.load_recipe({"model": {"base_id": "our/model"}}, plugins=plugins)
    config = environment(plugins, tmp_path, section, models={"base_local": copy})
    with caplog.at_level("INFO", logger="wmtp"):
        assert wmtp.create_model_loader(config, recipe, plugins=plugins).resolve().source.startswith("storage:s3")
    assert "is a copy of our/other, not of this model" in caplog.text
