"""`load_config`, `load_recipe`: from files, mappings and ``--set`` to records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from wmtp.config.config import Config
from wmtp.config.config_sections import config_converter, config_reader
from wmtp.config.flat import FLAT_KEYS, flat_faults
from wmtp.config.recipe import Recipe
from wmtp.config.recipe_sections import recipe_reader
from wmtp.config.sections import FileReader
from wmtp.config.source import Document, KeyPath, apply_overrides, read, substitute
from wmtp.config.structure import faults
from wmtp.contracts.catalog import Catalog
from wmtp.errors import ConfigError, ConfigFault

Source = Path | str | Mapping[str, Any] | None
S = TypeVar("S")


def load_config(source: Source, *, plugins: Catalog, overrides: Sequence[str] = ()) -> Config:
    """Reads config.yaml (a path, or its content as a mapping; ``None``: all defaults).

    overrides: ``key.path=yaml``, as ``--set`` takes them; those of a recipe's keys are left to `load_recipe`.
    Raises `ConfigError` with everything that is wrong, each with its key path, file and line.
    """
    reader = config_reader(plugins)
    document = _prepare(source, reader, recipe_reader(plugins), overrides)
    record: Config = _finish(document, Config, reader.read)
    # The default is relative as well, and no hook sees a default.
    cache = str(document.folder / record.paths.cache)
    return attrs.evolve(record, paths=attrs.evolve(record.paths, cache=cache))


def load_environment(source: Source, *, plugins: Catalog, overrides: Sequence[str] = ()) -> Config:
    """`load_config` by its first name, which scripts written before it was renamed call."""
    return load_config(source, plugins=plugins, overrides=overrides)


def load_recipe(source: Source, *, plugins: Catalog, overrides: Sequence[str] = ()) -> Recipe:
    """Reads recipe.yaml, like `load_config`. Metrics, evaluators' settings and ``n`` are checked here too."""
    reader = recipe_reader(plugins)
    document = _prepare(source, reader, config_reader(plugins), overrides)
    return _finish(document, Recipe, reader.read)


def load_configuration(
    config: Source, recipe: Source, *, plugins: Catalog, overrides: Sequence[str] = ()
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


def load_section(cls: type[S], source: Mapping[str, Any], *, plugins: Catalog, root: str) -> S:
    """Structures a mapping that stands alone (a loader's configuration) into `cls`, by the rules of config.yaml.

    root: the first word of the key paths in messages. Raises `ConfigError`; flat keys are refused here as well.
    """
    document = read(root, source)
    substitute(document)
    document.faults += flat_faults(document.data)
    document.data = {key: value for key, value in document.data.items() if key not in FLAT_KEYS}
    converter = config_converter(plugins)
    return _finish(document, cls, lambda data: converter.structure(data, cls))


def _prepare(source: Source, reader: FileReader, other: FileReader, overrides: Sequence[str]) -> Document:
    root, own, foreign = reader.file, reader.keys, other.keys
    document = read(root, source)
    keys = set(document.data)
    if keys and keys <= set(foreign) - set(own):
        raise ConfigError(
            f"{document.name or root}: this is a {other.file}, not a {root}; where a command takes both, the config comes "
            "first"
        )
    apply_overrides(document, overrides, own, foreign, reader.unknown)
    substitute(document)
    document.faults += flat_faults(document.data)
    document.data = {key: value for key, value in document.data.items() if key not in FLAT_KEYS}
    for key in [key for key in document.data if key in foreign and key not in own]:
        document.faults.append(((key,), f"belongs in the {other.file} file"))
        del document.data[key]
    return document


def _finish(document: Document, cls: type[S], structure: Callable[[Mapping[str, Any]], S]) -> S:
    try:
        record = structure(document.data)
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
