"""`load_config`, `load_recipe`: from files, mappings and ``--set`` to records."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from wmtp.config.config import Config, ModelPath, ModelPaths, PathsConfig, StorageConfig
from wmtp.config.flat import FLAT_KEYS, flat_faults
from wmtp.config.recipe import DEFAULT_MODEL_IDS, DEFAULT_VARIANT, Recipe
from wmtp.config.source import Document, KeyPath, apply_overrides, read, substitute
from wmtp.config.structure import ErrorCollector, InvalidValue, absolute, faults, mapping, record_hook, strict_converter
from wmtp.errors import ConfigError, ConfigFault

if TYPE_CHECKING:
    import cattrs

    from wmtp.plugins import Plugins

Source = Path | str | Mapping[str, Any] | None
S = TypeVar("S")

log = logging.getLogger("wmtp.config")

CONFIG_KEYS = tuple(a.name for a in attrs.fields(Config))
RECIPE_KEYS = tuple(a.name for a in attrs.fields(Recipe))


def load_config(source: Source, *, plugins: Plugins, overrides: Sequence[str] = ()) -> Config:
    """Reads config.yaml (a path, or its content as a mapping; ``None``: all defaults).

    overrides: ``key.path=yaml``, as ``--set`` takes them; those of a recipe's keys are left to `load_recipe`.
    Raises `ConfigError` with everything that is wrong, each with its key path, file and line.
    """
    document = _prepare("config", source, CONFIG_KEYS, RECIPE_KEYS, overrides)
    record = _finish(document, Config, config_converter(plugins))
    # The default is relative as well, and no hook sees a default.
    cache = str(document.folder / record.paths.cache)
    return attrs.evolve(record, paths=attrs.evolve(record.paths, cache=cache))


def load_recipe(source: Source, *, plugins: Plugins, overrides: Sequence[str] = ()) -> Recipe:
    """Reads recipe.yaml, like `load_config`. Metrics, evaluators' settings and ``n`` are checked here too."""
    from wmtp.config.recipe_section import recipe_converter

    document = _prepare("recipe", source, RECIPE_KEYS, CONFIG_KEYS, overrides)
    return _finish(document, Recipe, recipe_converter(plugins))


def load_configuration(
    config: Source, recipe: Source, *, plugins: Plugins, overrides: Sequence[str] = ()
) -> tuple[Config, Recipe]:
    """Both files; one `ConfigError` tells what is wrong in either."""
    faults: list[ConfigFault] = []
    first = second = None
    try:
        first = load_config(config, plugins=plugins, overrides=overrides)
    except ConfigError as exc:
        faults += exc.faults
    try:
        second = load_recipe(recipe, plugins=plugins, overrides=overrides)
    except ConfigError as exc:
        faults += exc.faults
    if first is None or second is None:
        raise ConfigError(list(dict.fromkeys(faults)))
    return first, second


def load_section(cls: type[S], source: Mapping[str, Any], *, plugins: Plugins, root: str) -> S:
    """Structures a mapping that stands alone (a loader's configuration) into `cls`, by the rules of config.yaml.

    root: the first word of the key paths in messages. Raises `ConfigError`; flat keys are refused here as well.
    """
    document = read(root, source)
    substitute(document)
    document.faults += flat_faults(document.data)
    document.data = {key: value for key, value in document.data.items() if key not in FLAT_KEYS}
    return _finish(document, cls, config_converter(plugins))


def _prepare(
    root: str, source: Source, own: Sequence[str], foreign: Sequence[str], overrides: Sequence[str]
) -> Document:
    document = read(root, source)
    keys = set(document.data)
    if keys and keys <= set(foreign):
        other = "recipe" if root == "config" else "config"
        raise ConfigError(
            f"{document.name or root}: this is a {other}, not a {root}; where a command takes both, the config comes first"
        )
    apply_overrides(document, overrides, own, foreign)
    substitute(document)
    document.faults += flat_faults(document.data)
    document.data = {key: value for key, value in document.data.items() if key not in FLAT_KEYS}
    for key in [key for key in document.data if key in foreign and key not in own]:
        other = "recipe" if root == "config" else "config"
        document.faults.append(((key,), f"belongs in the {other} file"))
        del document.data[key]
    return document


def _finish(document: Document, cls: type[S], converter: cattrs.Converter) -> S:
    try:
        record: S = converter.structure(document.data, cls)
    except Exception as exc:
        error = document.error([_placed(fault, cls, document.root) for fault in faults(exc)])
        if error is None:
            raise
        raise error from None
    if error := document.error([]):
        raise error
    return record


def _placed(fault: tuple[KeyPath, str], cls: type[Any], root: str) -> tuple[KeyPath, str]:
    """Says of a key that is right but in the wrong section (``eval.n``) where it belongs (``eval.sampling.n``)."""
    path, message = fault
    if message.startswith("unknown key"):
        homes = [home for home in _key_paths(cls) if home[-1] == path[-1] and len(path) <= len(home)]
        if len(homes) == 1:
            return path, f"unknown key here; it belongs in {'.'.join((root, *homes[0]))}"
    return fault


def _key_paths(cls: type[Any]) -> Iterator[tuple[str, ...]]:
    for field in attrs.fields(attrs.resolve_types(cls)):
        yield (field.name,)
        if isinstance(field.type, type) and attrs.has(field.type):
            yield from ((field.name, *below) for below in _key_paths(field.type))


def config_converter(plugins: Plugins) -> cattrs.Converter:
    """The converter of config.yaml."""
    from wmtp.config.storage_section import storage_hook

    converter = strict_converter()
    models = record_hook(
        ModelPaths,
        converter,
        base_local=_model_path("base", converter),
        rm_local=_model_path("rm", converter),
        ref_local=_model_path("ref", converter),
    )
    datasets = _datasets(plugins)
    paths = record_hook(
        PathsConfig, converter, models=models, datasets=datasets, cache=lambda value, _: absolute(value)
    )
    converter.register_structure_hook_func(lambda tp: tp is StorageConfig, storage_hook(plugins, converter))
    converter.register_structure_hook_func(lambda tp: tp is PathsConfig, paths)
    return converter


def _model_path(role: str, converter: cattrs.Converter) -> Callable[[Any, Any], ModelPath | None]:
    """A bare path is a copy of the role's default model; ``{id, variant, path}`` names another."""
    named = record_hook(ModelPath, converter, path=lambda value, _: absolute(value))

    def structure(value: Any, _: Any) -> ModelPath | None:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return named(value, ModelPath)  # type: ignore[no-any-return]
        if not isinstance(value, str):
            raise InvalidValue("must be a path, or {id: …, variant: …, path: …}", value=value)
        variant = DEFAULT_VARIANT if role == "base" else None
        return ModelPath(path=absolute(value), id=DEFAULT_MODEL_IDS[role], variant=variant)

    return structure


def _datasets(plugins: Plugins) -> Callable[[Any, Any], dict[str, str]]:
    """``<data set>_local: path``. A name like an installed one is a mistake; another is kept, with a note."""

    def structure(value: Any, _: Any) -> dict[str, str]:
        errors = ErrorCollector()
        found: dict[str, str] = {}
        for key, path in mapping(value).items():
            name = key.removesuffix("_local")
            with errors.at(key):
                if not key.endswith("_local") or not name:
                    near = difflib.get_close_matches(f"{key}_local", [f"{d}_local" for d in plugins.datasets], n=1)
                    raise InvalidValue(
                        f"data sets are named <data set>_local; write {near[0] if near else f'{key}_local'}"
                    )
                if name not in plugins.datasets:
                    if near := difflib.get_close_matches(name, plugins.datasets, n=1):
                        raise InvalidValue(f"no data set {name!r} is installed; did you mean {near[0]}_local?")
                    log.warning("paths.datasets.%s belongs to no installed plugin; kept as it is", key)
                if path is not None:
                    found[name] = absolute(path)
        errors.finish()
        return found

    return structure
