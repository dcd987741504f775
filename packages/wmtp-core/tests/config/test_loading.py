"""What good files mean: defaults, paths, variables, overrides, plugins' sections, and the way back to plain data."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wmtp
from wmtp.config import load_config, load_recipe
from wmtp.config.config import Config, ModelPath
from wmtp.config.plain import to_plain, to_yaml
from wmtp.config.recipe import DEFAULT_VARIANT, EvalConfig, RunConfig
from wmtp.config.structure import strict_converter
from wmtp.contracts.engines import Sampling


def test_defaults(plugins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = load_config(None, plugins=plugins)
    assert environment.paths.cache == str(tmp_path / ".cache")
    assert attrs.evolve(environment, paths=Config().paths) == Config()
    assert load_recipe(None, plugins=plugins) == wmtp.Recipe()


@pytest.mark.parametrize("name", ["config.yaml", "demo-config.yaml"])
def test_examples_are_good(name, plugins):
    root = next(p for p in Path(__file__).parents if (p / "examples").is_dir())
    assert load_config(root / "examples" / name, plugins=plugins).storage.mode == "local"


def test_empty_file_and_empty_sections(write, plugins):
    assert load_config(write("a.yaml", ""), plugins=plugins).seed == 42
    assert load_config(write("b.yaml", "judging:\n#  level: auto\npaths:\n"), plugins=plugins).seed == 42


def test_paths_are_relative_to_the_file(write, plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    file = write(
        "deep/c.yaml",
        "storage: {mode: shelf, shelf: {bucket: b, key_file: k.pem}}\n"
        "paths:\n"
        "  models: {base_local: m/base, ref_local: {id: a/b, path: ../ref}}\n"
        "  datasets: {puzzles_local: d/p.jsonl}\n"
        "  cache: ~/cache\n",
    )
    environment = load_config(file, plugins=plugins, overrides=["paths.models.rm_local=rm"])
    models = environment.paths.models
    default = wmtp.DEFAULT_MODEL_IDS
    assert models.base_local == ModelPath(
        path=str(tmp_path / "deep/m/base"), id=default["base"], variant=DEFAULT_VARIANT
    )
    assert models.ref_local == ModelPath(path=str(tmp_path / "deep/../ref"), id="a/b")
    assert models.rm_local == ModelPath(path=str(tmp_path / "rm"), id=default["rm"])  # --set: relative to the cwd
    assert environment.paths.datasets == {"puzzles": str(tmp_path / "deep/d/p.jsonl")}
    assert environment.paths.cache == "/home/someone/cache"
    assert environment.storage.settings.key_file == tmp_path / "deep/k.pem"


def test_urls_are_no_paths(write, plugins):
    file = write("c.yaml", "paths: {datasets: {puzzles_local: 's3://b/puzzles'}}")
    assert load_config(file, plugins=plugins).paths.datasets == {"puzzles": "s3://b/puzzles"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("facebook/multi-token-prediction", "facebook/multi-token-prediction"),
        ("./model", "{folder}/model"),
        ("../model", "{folder}/../model"),
        ("/abs/model", "/abs/model"),
        ("there/model", "{folder}/there/model"),  # a folder of that name is beside the recipe
        ("s3://bucket/model", "s3://bucket/model"),
        ("reference:", "reference:"),
        ("samples:out.jsonl", "samples:{folder}/out.jsonl"),
        ("samples:/abs/out.jsonl", "samples:/abs/out.jsonl"),
    ],
)
def test_model_references(written, meant, write, plugins, tmp_path):
    (tmp_path / "sub/there/model").mkdir(parents=True)
    file = write("sub/r.yaml", f"model: {{base_id: '{written}'}}")
    assert load_recipe(file, plugins=plugins).model.base_id == meant.format(folder=tmp_path / "sub")


def test_variables(write, plugins, monkeypatch):
    for name, value in {"A": "alpha", "N": "12", "T": "2.5", "B": "true", "E": "", "NUMBER_NAME": "007"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UNSET", raising=False)
    file = write(
        "c.yaml",
        "project: a-${A}-${UNSET:-none}-$${A}-${E:-empty}-$A\n"
        "seed: ${N}\n"
        "judging: {time_limit: '${T}', workers: '${UNSET:-auto}'}\n"
        "storage: {mode: shelf, shelf: {bucket: '${NUMBER_NAME}', region: '${E}', path_style: '${B}'}}\n",
    )
    environment = load_config(file, plugins=plugins)
    assert environment.project == "a-alpha-none-${A}-empty-$A"
    assert environment.seed == 12
    assert (environment.judging.time_limit, environment.judging.workers) == (2.5, "auto")
    shelf = environment.storage.settings
    assert (shelf.bucket, shelf.region, shelf.path_style) == ("007", None, True)


def test_variables_are_not_substituted_twice(write, plugins, monkeypatch):
    monkeypatch.setenv("A", "${HOME}")
    assert load_config(write("c.yaml", "project: ${A}"), plugins=plugins).project == "${HOME}"


def test_yaml_is_1_2(write, plugins):
    recipe = load_recipe(
        write("r.yaml", "model: {mtp: {speculative: off}}\neval: {sampling: {temperature: 1e-1}}"), plugins=plugins
    )
    assert recipe.model.mtp.speculative == "off"
    assert recipe.eval.sampling.temperature == 0.1


def test_overrides_win_in_order(write, plugins):
    file = write("c.yaml", "seed: 1\njudging: {level: process}")
    overrides = ["seed=2", "seed=0x10", "judging={workers: 3}", "judging.time_limit=5", "eval.limit=20"]
    environment = load_config(file, plugins=plugins, overrides=overrides)
    assert environment.seed == 16
    assert (environment.judging.level, environment.judging.workers, environment.judging.time_limit) == (
        "strict",
        3,
        5.0,
    )
    assert load_recipe(None, plugins=plugins, overrides=overrides).eval.limit == 20


@pytest.mark.parametrize("text", ["reference:", "a: b", "- a", "a: b: c", "@x", "samples:x: y"])
def test_an_override_without_brackets_is_text(text, write, plugins):
    recipe = load_recipe(None, plugins=plugins, overrides=[f"model.variant={text}"])
    assert recipe.model.variant == text


def test_overrides_with_brackets_and_quotes_are_yaml(plugins):
    overrides = ["eval.sampling={n: 3}", "run.tags=[a, b]", "model.variant='a: b'", 'run.name="123"']
    recipe = load_recipe(None, plugins=plugins, overrides=overrides)
    assert recipe.eval.sampling.n == 3
    assert recipe.run.tags == ("a", "b")
    assert (recipe.model.variant, recipe.run.name) == ("a: b", "123")


@pytest.mark.parametrize("text", ["123", "007", "1e3", "2026-11-25", "true", "1_000", "0x10"])
def test_a_number_of_an_override_is_text_where_text_is_asked_for(text, plugins):
    assert load_recipe(None, plugins=plugins, overrides=[f"run.name={text}"]).run.name == text


def test_a_number_of_an_override_is_a_number_elsewhere(plugins, caplog):
    overrides = ["eval.sampling.temperature=1e-1", "eval.limit=0x10", "eval.batch_size=4", "model.base_id=null"]
    recipe = load_recipe(None, plugins=plugins, overrides=overrides)
    assert (recipe.eval.sampling.temperature, recipe.eval.limit, recipe.eval.batch_size) == (0.1, 16, 4)
    assert recipe.model.base_id is None
    environment = load_config(None, plugins=plugins, overrides=["storage.other.retries=5"])
    assert environment.storage.sections == {"other": {"retries": 5}}, "a section that nobody structures keeps it too"
    with pytest.raises(wmtp.ConfigError, match=r"must be a whole number or null, not 1\.5"):
        load_recipe(None, plugins=plugins, overrides=["eval.limit=1.5"])


def test_sections_of_storages_that_are_not_installed_are_kept(write, plugins, caplog):
    file = write("c.yaml", "storage: {mode: shelf, shelf: {bucket: b}, gcs: {bucket: 5, deep: {a: [1, x]}}}")
    with caplog.at_level(logging.INFO, "wmtp"):
        storage = load_config(file, plugins=plugins).storage
    assert storage.sections == {"shelf": {"bucket": "b"}, "gcs": {"bucket": 5, "deep": {"a": [1, "x"]}}}
    assert [r.getMessage() for r in caplog.records] == ["storage.gcs belongs to no installed plugin; kept as it is"]


def test_an_invalid_section_that_is_not_selected_is_a_note(write, plugins, caplog):
    file = write("c.yaml", "storage: {mode: local, shelf: {bucket: null}}")
    storage = load_config(file, plugins=plugins).storage
    assert (storage.mode, storage.settings, storage.by_mode) == ("local", None, {"local": None})
    assert len(caplog.records) == 1
    assert "storage.shelf is not usable and is ignored" in caplog.text
    assert "bucket: must be text, not null" in caplog.text


def test_settings_of_every_installed_mode(write, plugins):
    storage = load_config(write("c.yaml", "storage: {shelf: {bucket: b}}"), plugins=plugins).storage
    assert storage.by_mode["shelf"].bucket == "b"


def test_data_sets_that_are_not_installed_are_kept(write, plugins, caplog):
    file = write("c.yaml", "paths: {datasets: {contest_local: /x, puzzles_local: null}}")
    assert load_config(file, plugins=plugins).paths.datasets == {"contest": "/x"}
    assert "paths.datasets.contest_local belongs to no installed plugin" in caplog.text


def test_settings_of_the_evaluators_that_metrics_need(write, plugins):
    file = write(
        "r.yaml", "eval: {metrics: [puzzles_exact, hard_exact, plain_exact], evaluators: {hard-v1: {level: 3}}}"
    )
    evaluators = load_recipe(file, plugins=plugins).eval.evaluators
    assert list(evaluators) == ["hard-v1", "puzzles-v1"]
    assert (evaluators["hard-v1"].level, evaluators["puzzles-v1"].split) == (3, "test")


def test_prefixed_metrics(write, plugins):
    text = (
        "eval: {metrics: [x_puzzles_exact, 'x_puzzles_pass@3'], metric_prefix: {wmtp-shelf: x_}, sampling: {n: auto}}"
    )
    recipe = load_recipe(write("r.yaml", text), plugins=plugins)
    assert plugins.largest_k(recipe.eval.metrics, recipe.eval.metric_prefix) == 3


def test_a_mapping_serves_as_a_file(plugins):
    assert load_config({"seed": 7, "judging": {"workers": 2}}, plugins=plugins).judging.workers == 2


def test_records_check_themselves_in_python_too():
    for make in (lambda: Sampling(n=0), lambda: RunConfig(name="a/b"), lambda: EvalConfig(limit=0)):
        with pytest.raises(ValueError, match=r"must be at least 1|names a folder"):
            make()


def test_text_that_looks_like_a_variable_survives(plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("A", "$${B}")
    first = load_config({"project": "${A} $${C}"}, plugins=plugins)
    assert first.project == "$${B} ${C}"
    assert load_config(through_yaml(first, tmp_path / "c.yaml"), plugins=plugins) == first


# properties

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
paths = st.from_regex(r"/[a-z]{1,5}(/[a-z]{1,5}){0,2}", fullmatch=True)
texts = st.text(max_size=8).filter(lambda text: "${" not in text)
shelves = st.fixed_dictionaries(
    {"bucket": texts},
    optional={
        "region": st.none() | names,
        "path_style": st.booleans(),
        "timeout": st.floats(0.1, 1e6) | st.integers(1, 1000),
        "key_file": st.none() | paths,
        "colour": st.sampled_from(["red", "blue"]),
        "labels": st.dictionaries(names, st.integers()),
        "span": st.tuples(st.integers(), st.integers()).map(list),
        "retry": st.fixed_dictionaries({}, optional={"attempts": st.integers(1), "statuses": st.lists(st.integers())}),
    },
)
environments = st.fixed_dictionaries(
    {},
    optional={
        "project": texts,
        "seed": st.integers(0, 2**63 - 1),
        "storage": st.fixed_dictionaries({"mode": st.sampled_from(["shelf", "local"]), "shelf": shelves}),
        "paths": st.fixed_dictionaries(
            {},
            optional={
                "models": st.fixed_dictionaries(
                    {},
                    optional={
                        "base_local": st.none() | paths,
                        "ref_local": st.fixed_dictionaries({"id": names, "path": paths, "variant": st.none() | names}),
                    },
                ),
                "datasets": st.fixed_dictionaries({}, optional={"puzzles_local": st.none() | paths}),
                "cache": paths,
            },
        ),
        "devices": st.fixed_dictionaries(
            {},
            optional={
                "device": st.sampled_from(["auto", "cpu", "mps", "cuda", "cuda:3"]),
                "dtype": st.sampled_from(["auto", "bfloat16"]),
            },
        ),
        "judging": st.fixed_dictionaries(
            {},
            optional={
                "level": st.sampled_from(["strict", "process", "auto"]),
                "workers": st.just("auto") | st.integers(1, 64),
                "time_limit": st.floats(0.1, 100) | st.integers(1, 100),
                "memory_mib": st.integers(16, 10**6),
            },
        ),
    },
)
recipes = st.fixed_dictionaries(
    {},
    optional={
        "run": st.fixed_dictionaries({"name": names}, optional={"tags": st.lists(names)}),
        "model": st.fixed_dictionaries(
            {},
            optional={
                "base_id": st.sampled_from(["reference:", "org/name", "/a/folder", "s3://b/k"]),
                "variant": st.none() | names,
                "loader": st.sampled_from([None, "transformers"]),
                "mtp": st.fixed_dictionaries({"n_heads": st.none() | st.integers(1, 8)}),
            },
        ),
        "eval": st.fixed_dictionaries(
            {"sampling": st.fixed_dictionaries({"n": st.just("auto") | st.integers(9, 20)})},
            optional={
                "metrics": st.lists(
                    st.sampled_from(["puzzles_exact", "puzzles_pass@3", "puzzles_pass@9", "plain_exact"]), unique=True
                ),
                "limit": st.none() | st.integers(1),
                "evaluators": st.fixed_dictionaries({"puzzles-v1": st.fixed_dictionaries({"shots": st.integers(0)})}),
            },
        ),
    },
)
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def leaf_types(value):
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaf_types(inner)
    else:
        yield type(value)  # the loader's own kinds of text must not leak into records


def through_yaml(record, path):
    """As a run directory does it: written as YAML, read again."""
    path.write_text(to_yaml(record), encoding="utf-8")
    return path


@relaxed
@given(data=environments)
def test_environment_round_trip(data, plugins, tmp_path):
    first = load_config(data, plugins=plugins)
    again = load_config(through_yaml(first, tmp_path / "c.yaml"), plugins=plugins)
    assert again == first
    assert json.loads(json.dumps(to_plain(again))) == to_plain(first)
    assert set(leaf_types(to_plain(again))) <= {bool, int, float, str, type(None)}


@relaxed
@given(data=recipes)
def test_recipe_round_trip(data, plugins, tmp_path):
    first = load_recipe(data, plugins=plugins)
    assert load_recipe(through_yaml(first, tmp_path / "r.yaml"), plugins=plugins) == first


def keys_of(data, path=()):
    for key, value in data.items():
        yield (*path, key)
        if isinstance(value, dict) and key != "labels":
            yield from keys_of(value, (*path, key))


@relaxed
@given(data=environments.filter(bool), pick=st.randoms(use_true_random=False))
def test_a_misspelt_key_is_found_wherever_it_is(data, pick, plugins):
    """Any key of any section, with one letter more, is refused under its own path."""
    data = json.loads(json.dumps(data))
    *parents, key = pick.choice(list(keys_of(data)))
    section = data
    for parent in parents:
        section = section[parent]
    section[f"{key}x"] = section.pop(key)
    if data.get("storage", {}).get("mode") != "shelf" and parents[:1] == ["storage"]:
        return  # a section that is not selected is not required to be right
    with pytest.raises(wmtp.ConfigError) as caught:
        load_config(data, plugins=plugins)
    assert any(p.where == ".".join(["config", *parents, f"{key}x"]) for p in caught.value.faults), caught.value


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(value=scalars)
def test_no_scalar_is_ever_coerced(value):
    """What comes out is what went in, of the same type, or the value is refused; an int may serve as a float."""
    converter = strict_converter()
    for tp in (bool, int, float, str, type(None)):
        try:
            structured = converter.structure(value, tp)
        except Exception:  # noqa: BLE001
            assert type(value) is not tp
            continue
        assert structured == value
        assert type(structured) is tp
        assert type(value) is tp or (tp is float and type(value) is int)


def test_numbers_at_the_edge():
    convert = strict_converter().structure
    assert convert(2**53, float) == 2.0**53
    for value, tp in [(2**53 + 1, float), (10**400, float), (float("nan"), float), (float("inf"), float), (1.0, int)]:
        with pytest.raises(Exception, match="must be a"):
            convert(value, tp)


@given(value=scalars)
def test_no_scalar_is_ever_taken_for_a_list_or_a_mapping(value):
    converter = strict_converter()
    for tp in (list[str], tuple[int, ...], set[str], frozenset[int]):
        with pytest.raises(Exception, match="must be a list"):
            converter.structure(value, tp)
    if value is not None:
        with pytest.raises(Exception, match="must be a section"):
            converter.structure(value, dict[str, int])
