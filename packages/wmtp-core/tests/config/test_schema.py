"""`wmtp config schema`: what the loader takes, the schema takes; what it refuses by key or type, the schema refuses."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from wmtp.config.schema import config_schema, recipe_schema
from wmtp.config.source import as_plain, parse_yaml
from wmtp.plugins import create_plugin_manager

ROOT = next(p for p in Path(__file__).parents if (p / "examples").is_dir())


@pytest.fixture(scope="module")
def config(plugins):
    jsonschema.Draft202012Validator.check_schema(config_schema(plugins))
    return jsonschema.Draft202012Validator(config_schema(plugins))


@pytest.fixture(scope="module")
def recipe(plugins):
    jsonschema.Draft202012Validator.check_schema(recipe_schema(plugins))
    return jsonschema.Draft202012Validator(recipe_schema(plugins))


@pytest.mark.parametrize("name", ["config.yaml", "demo-config.yaml"])
def test_examples(name, config):
    config.validate(as_plain(parse_yaml((ROOT / "examples" / name).read_text(), "config", name)))


def silent(schema, path=""):
    """Keys below a schema that nothing is said of."""
    for key, inner in schema.get("properties", {}).items():
        if "const" not in inner and not inner.get("description"):
            yield f"{path}{key}"
        yield from silent(inner, f"{path}{key}.")
    for form in schema.get("anyOf", ()):
        yield from silent(form, path)


@pytest.mark.parametrize("schema", [config_schema, recipe_schema])
def test_every_key_of_core_has_a_sentence(schema):
    assert list(silent(schema(create_plugin_manager(entry_points=False)))) == []


GOOD = [
    "{}",
    "judging:",
    "storage: {mode: shelf, shelf: {bucket: b, timeout: 3, retry: {attempts: 2}, labels: {a: 1}}, gcs: {x: 1}}",
    "seed: ${SEED:-3}",
    "judging: {level: auto, workers: 3}",
    "paths: {models: {base_local: x, ref_local: {id: a, path: b}}, datasets: {puzzles_local: x, other_local: null}}",
]
BAD = [
    "sed: 3",
    "seed: '3'",
    "judging: {level: strct}",
    "judging: {workers: many}",
    "storage: {mode: gcs}",
    "storage: {mode: shelf, shelf: {region: x}}",
    "storage: {mode: shelf, shelf: {bucket: b, regin: x}}",
    "storage: {mode: shelf, shelf: {bucket: b, colour: green}}",
    "paths: {datasets: {puzzles: x}}",
    "paths: {models: {base_local: {id: x}}}",
    "storage_mode: s3",
]


@pytest.mark.parametrize("text", GOOD)
def test_good(text, config):
    config.validate(as_plain(parse_yaml(text, "config", "")))


@pytest.mark.parametrize("text", BAD)
def test_bad(text, config):
    assert not config.is_valid(as_plain(parse_yaml(text, "config", "")))


def test_recipe(recipe):
    good = "model: {mtp: {speculative: off}}\neval: {sampling: {n: auto}, evaluators: {puzzles-v1: {shots: 3}, plain-v1: }}"
    recipe.validate(as_plain(parse_yaml(good, "recipe", "")))
    for bad in (
        "eval: {limit: few}",
        "eval: {evaluators: {puzzles-v1: {shot: 3}}}",
        "eval: {evaluators: {other-v1: {}}}",
    ):
        assert not recipe.is_valid(as_plain(parse_yaml(bad, "recipe", "")))


def test_it_describes(plugins):
    schema = config_schema(plugins)
    shelf = schema["properties"]["storage"]["properties"]["shelf"]
    assert shelf["required"] == ["bucket"]
    assert shelf["description"]
    assert schema["properties"]["seed"]["default"] == 42
