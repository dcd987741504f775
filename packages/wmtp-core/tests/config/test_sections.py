"""Sections that plugins own: structured by their own class, as strictly as core's; a kind that a test adds needs no more."""

from __future__ import annotations

import types
from typing import Annotated, Any

import attrs
import pytest

import wmtp
from wmtp.config import load_config, load_recipe
from wmtp.config.plain import to_plain, to_yaml
from wmtp.config.schema import config_schema, recipe_schema
from wmtp.contracts.validators import identifier, one_line
from wmtp.plugins import create_plugin_manager, kinds
from wmtp.plugins.hookspecs import hookspec


@attrs.frozen(kw_only=True)
class Weighting:
    temperature: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))


@attrs.frozen(kw_only=True)
class Lesson:
    """How to teach."""

    steps: int = attrs.field(validator=attrs.validators.ge(1))
    scorer: Annotated[wmtp.Choice, wmtp.OfKind("scorer")] | None = None


@attrs.frozen(kw_only=True)
class Server:
    url: str
    retries: int = 3


class Teacher:
    name = "wmtp-teacher"
    __version__ = "1.0"

    @wmtp.hookimpl
    def wmtp_sections(self):
        return [
            wmtp.SectionSpec(name="lesson", summary="a lesson", settings=Lesson),
            wmtp.SectionSpec(name="school", summary="a school", settings=Server, file="config"),
        ]

    @wmtp.hookimpl
    def wmtp_scorers(self):
        return [wmtp.ScorerSpec(name="by-mood", summary="by mood", create=print, settings=Weighting)]

    @wmtp.hookimpl
    def wmtp_loaders(self):
        return [
            wmtp.LoaderSpec(
                name="remote", summary="a server", matches="remote:".__eq__, load=lambda r: r, settings=Server
            )
        ]

    @wmtp.hookimpl
    def wmtp_trackers(self):
        return [wmtp.TrackerSpec(name="diary", summary="a diary", create=print, settings=Server)]


@pytest.fixture(autouse=True)
def conflicts_are_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI makes every conflict an error; here one is made on purpose."""
    monkeypatch.delenv("WMTP_STRICT_PLUGINS", raising=False)


def manager(*plugins: Any) -> wmtp.Plugins:
    return create_plugin_manager(plugins=plugins or [Teacher()], entry_points=False)


def told(load: Any, source: Any, **options: Any) -> list[str]:
    with pytest.raises(wmtp.ConfigError) as caught:
        load(source, plugins=manager(), **options)
    return str(caught.value).splitlines()


def test_a_section_is_an_instance_of_its_plugins_class() -> None:
    plugins = manager()
    written = {"lesson": {"steps": 3, "scorer": {"name": "by-mood", "temperature": 2.0}}}
    recipe = load_recipe(written, plugins=plugins, overrides=["lesson.steps=4"])
    scorer = wmtp.Choice(name="by-mood", settings=Weighting(temperature=2.0))
    assert recipe.sections == {"lesson": Lesson(steps=4, scorer=scorer)}
    assert load_recipe({}, plugins=plugins).sections == {}
    config = load_config({"school": {"url": "x"}, "tracking": {"diary": {"url": "y"}}}, plugins=plugins)
    assert config.sections == {"school": Server(url="x"), "tracking": {"diary": Server(url="y")}}


def test_a_name_alone_is_a_choice_with_defaults() -> None:
    recipe = load_recipe({"lesson": {"steps": 1, "scorer": "by-mood"}}, plugins=manager())
    assert recipe.sections["lesson"].scorer == wmtp.Choice(name="by-mood", settings=Weighting())


def test_sections_are_written_back_as_they_are_read(tmp_path) -> None:
    plugins = manager()
    recipe = load_recipe(
        {"lesson": {"steps": 3, "scorer": {"name": "by-mood", "temperature": 2.0}}, "model": {"base_id": "remote:"}},
        plugins=plugins,
    )
    config = load_config({"tracking": {"diary": {"url": "y"}}}, plugins=plugins)
    assert to_plain(config)["tracking"] == {"diary": {"url": "y", "retries": 3}}
    for record, load in ((recipe, load_recipe), (config, load_config)):
        (tmp_path / "again.yaml").write_text(to_yaml(record), encoding="utf-8")
        assert load(tmp_path / "again.yaml", plugins=plugins).sections == record.sections


def test_everything_wrong_in_a_section_is_told_at_once_with_its_key_path() -> None:
    source = {"lesson": {"step": 1, "steps": "three", "scorer": {"name": "by-moon"}}, "eval": {"limit": "few"}}
    assert told(load_recipe, source) == [
        "recipe.eval.limit: must be a whole number or null, not 'few'",
        "recipe.lesson.steps: must be a whole number, not 'three'",
        "recipe.lesson.scorer.name: unknown scorer 'by-moon'; did you mean 'by-mood'? installed: by-mood, "
        + ", ".join(s for s in sorted(manager().scorers) if s != "by-mood"),
        "recipe.lesson.step: unknown key; did you mean 'steps'? known: steps, scorer",
    ]
    assert told(load_recipe, {"lesson": {"steps": 0}}) == ["recipe.lesson.steps: 'steps' must be >= 1: 0"]
    assert told(load_recipe, {"lesson": {"steps": 1, "scorer": {"name": "by-mood", "temperature": -1}}}) == [
        "recipe.lesson.scorer.temperature: 'temperature' must be > 0: -1.0"
    ]
    assert told(load_recipe, {"lesson": 3}) == ["recipe.lesson: must be a section (a mapping of keys), not 3"]
    assert told(load_config, {"school": {}}) == ["config.school.url: required, and missing"]


def test_a_section_in_the_wrong_file_is_told_where_it_belongs() -> None:
    assert told(load_recipe, {"school": {"url": "x"}, "eval": {}}) == ["recipe.school: belongs in the config file"]
    assert told(load_config, {"lesson": {"steps": 1}}) == [
        "config: this is a recipe, not a config; where a command takes both, the config comes first"
    ]


@pytest.mark.parametrize("section", ["train", "optim", "checkpoint", "data"])
def test_the_section_of_a_plugin_that_is_not_installed_names_its_distribution(section) -> None:
    (line,) = told(load_recipe, {section: {"lr": 1}})
    assert line.startswith(f"recipe.{section}: unknown key; ")
    assert line.endswith("wmtp-train provides it: pip install wmtp-train")
    (line,) = told(load_recipe, {}, overrides=[f"{section}.lr=1"])
    assert line.endswith("wmtp-train provides it: pip install wmtp-train")


def test_a_tracker_that_is_not_installed_names_its_distribution() -> None:
    (line,) = told(load_config, {"tracking": {"mlflow": {"uri": "x"}}})
    assert line.startswith("config.tracking.mlflow: unknown tracker 'mlflow'; installed: ")
    assert line.endswith("wmtp-mlflow provides it: pip install wmtp-mlflow")


def test_a_loaders_settings_reach_it_and_are_strict() -> None:
    plugins = manager()
    config = load_config({}, plugins=plugins)
    model = {"base_id": "remote:", "loaders": {"remote": {"url": "u", "retries": 1}}}
    recipe = load_recipe({"model": model}, plugins=plugins)
    request = wmtp.create_model_loader(config, recipe, plugins=plugins).load()
    assert request.settings == Server(url="u", retries=1)
    assert told(load_recipe, {"model": {"loaders": {"remote": {"url": 1}}}}) == [
        "recipe.model.loaders.remote.url: must be text (put it in quotes), not 1"
    ]
    recipe = load_recipe({"model": {"base_id": "remote:"}}, plugins=plugins)
    with pytest.raises(wmtp.ConfigError, match=r"recipe\.model\.loaders\.remote\.url: required, and missing"):
        wmtp.create_model_loader(config, recipe, plugins=plugins).load()


def test_schemas_hold_the_sections_of_plugins() -> None:
    recipe, config = recipe_schema(manager()), config_schema(manager())
    assert "sections" not in recipe["properties"]
    assert recipe["properties"]["lesson"]["required"] == ["steps"]
    assert "by-mood" in str(recipe["properties"]["lesson"]["properties"]["scorer"])
    assert config["properties"]["tracking"]["properties"]["diary"]["required"] == ["url"]
    assert "remote" in recipe["properties"]["model"]["properties"]["loaders"]["properties"]


# a kind that is made of one record and one hook, here


@attrs.frozen(kw_only=True)
class FlavourSpec:
    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    settings: type[Any] | None = None


@hookspec
def wmtp_flavours():
    """Flavours: how it tastes.

    Returns: any number of `FlavourSpec`.

    Example:

        import wmtp
    """


@pytest.fixture
def flavours(monkeypatch: pytest.MonkeyPatch) -> Any:
    kind = kinds.Kind(name="flavour", hook=wmtp_flavours, record=FlavourSpec, settings="recipe.flavours")
    monkeypatch.setattr(kinds, "KINDS", [*kinds.KINDS, kind])

    def plugin(distribution: str, **fields: Any) -> types.ModuleType:
        module = types.ModuleType(distribution)
        module.__version__ = "1.0"
        spec = {"name": "sweet", "summary": "sugar", "settings": Weighting, **fields}
        module.wmtp_flavours = wmtp.hookimpl(specname="wmtp_flavours")(lambda: [FlavourSpec(**spec)])
        return module

    return plugin


def test_a_kind_of_one_record_and_one_hook_is_listed_checked_structured_and_documented(flavours, capsys) -> None:
    from wmtp.cli.plugins import show

    plugins = manager(flavours("wmtp-sugar"))
    assert plugins.flavours["sweet"].spec is plugins.registry("flavour")["sweet"].spec
    show(plugins)
    assert "wmtp-sugar 1.0  loaded\n    flavour: sweet\n" in capsys.readouterr().out
    recipe = load_recipe({"flavours": {"sweet": {"temperature": 3}}}, plugins=plugins)
    assert recipe.sections == {"flavours": {"sweet": Weighting(temperature=3.0)}}
    with pytest.raises(wmtp.ConfigError, match="unknown flavour 'swet'; did you mean 'sweet'"):
        load_recipe({"flavours": {"swet": {}}}, plugins=plugins)
    assert "sweet" in recipe_schema(plugins)["properties"]["flavours"]["properties"]

    both = manager(flavours("wmtp-sugar"), flavours("wmtp-honey"))
    assert [c for c in both.conflicts() if "flavour 'sweet' is claimed by wmtp-sugar 1.0 and by wmtp-honey 1.0" in c]
    with pytest.raises(wmtp.PluginError):
        both.flavours["sweet"]

    broken = manager(flavours("wmtp-salt", name="too salty"))
    assert "FlavourSpec.name is 'too salty'" in broken.listing()[1].error


def test_the_named_registries_are_those_of_the_table() -> None:
    made = {k.registry for k in kinds.KINDS} | {c.registry for k in kinds.KINDS for c in k.claims if c.registry}
    assert {name for name, of in wmtp.Plugins.__annotations__.items() if str(of).startswith("Registry")} == made
