"""The readers of config.yaml's sections: ``storage``, whose parts belong to storage plugins, and ``paths``."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from typing import Any

import attrs
import cattrs

from wmtp.config.config import Config, ModelPath, ModelPaths, PathsConfig, StorageConfig
from wmtp.config.recipe import DEFAULT_MODEL_IDS, DEFAULT_VARIANT
from wmtp.config.sections import FileReader, SectionReader, add_choices, settings_of
from wmtp.config.source import as_plain, unknown_key
from wmtp.config.structure import (
    ErrorCollector,
    InvalidValue,
    absolute,
    faults,
    mapping,
    strict_converter,
    structure_scalar,
)
from wmtp.contracts.catalog import Catalog

log = logging.getLogger("wmtp.config")


def config_converter(catalog: Catalog) -> cattrs.Converter:
    """A converter that knows the sections of config.yaml."""
    converter = strict_converter()
    add_choices(catalog, converter)
    for reader in (ModelPathReader, ModelPathsReader, PathsReader, StorageReader):
        reader(catalog, converter)
    return converter


def config_reader(catalog: Catalog) -> FileReader:
    """The reader of the whole of config.yaml."""
    return FileReader("config", Config, catalog, config_converter(catalog))


class StorageReader(SectionReader[StorageConfig]):
    """``storage``: a mode, and sections by mode. The selected mode must be installed and its section valid. Another mode's
    section that is not usable is kept as it is, with a note: the file may be shared with machines that have that plugin.
    """

    record = StorageConfig

    def read(self, value: Any) -> StorageConfig:
        section = mapping(value)
        sections = {key: inner for key, inner in section.items() if key != "mode"}
        errors = ErrorCollector()
        mode = "local"
        with errors.at("mode"):
            mode = structure_scalar(section.get("mode", mode), str)
            if mode not in self._storages:
                raise InvalidValue(self.catalog.missing("storage mode", mode, self._storages))
        by_mode: dict[str, Any] = {}
        for name in dict.fromkeys([mode, *sections]):
            with errors.at(name):
                self._read_mode(name, mode, sections, by_mode)
        errors.finish()
        return StorageConfig(mode=mode, settings=by_mode.get(mode), sections=as_plain(sections), by_mode=by_mode)

    @property
    def _storages(self) -> Mapping[str, Any]:
        return self.catalog.registry("storage mode")

    def _read_mode(self, name: str, mode: str, sections: Mapping[str, Any], by_mode: dict[str, Any]) -> None:
        if name not in self._storages:
            if name != mode:
                self._keep(name, sections[name], mode)
            return
        try:
            by_mode[name] = settings_of(self._storages[name].spec.settings, sections.get(name), self.converter)
        except Exception as exc:
            if name == mode:
                raise
            _note_invalid(name, mode, exc)

    def _keep(self, name: str, section: Any, mode: str) -> None:
        """Keeps the section of a storage that is not installed; what is no such section is a mistake."""
        selected = self._storages[mode].spec.settings if mode in self._storages else None
        if selected and name in [a.name for a in attrs.fields(selected)]:
            raise InvalidValue(f"belongs in the section storage.{mode}")
        if not isinstance(section, Mapping) or difflib.get_close_matches(name, self._storages, n=1):
            raise InvalidValue(unknown_key(name, ["mode", *self._storages]))
        log.warning("storage.%s belongs to no installed plugin; kept as it is", name)


def _note_invalid(name: str, mode: str, exc: Exception) -> None:
    found = "; ".join(f"{'.'.join(map(str, path))}: {message}" if path else message for path, message in faults(exc))
    log.warning("storage.%s is not usable and is ignored, since storage.mode is %s (%s)", name, mode, found)


class ModelPathReader(SectionReader[ModelPath]):
    record = ModelPath

    def path(self, value: Any) -> str:
        return absolute(value)


class ModelPathsReader(SectionReader[ModelPaths]):
    """``paths.models``: a bare path is a copy of the role's default model; ``{id, variant, path}`` names another."""

    record = ModelPaths

    def base_local(self, value: Any) -> ModelPath | None:
        return self._copy("base", value)

    def rm_local(self, value: Any) -> ModelPath | None:
        return self._copy("rm", value)

    def ref_local(self, value: Any) -> ModelPath | None:
        return self._copy("ref", value)

    def _copy(self, role: str, value: Any) -> ModelPath | None:
        if value is None or isinstance(value, Mapping):
            return None if value is None else self.converter.structure(value, ModelPath)
        if not isinstance(value, str):
            raise InvalidValue("must be a path, or {id: …, variant: …, path: …}", value=value)
        variant = DEFAULT_VARIANT if role == "base" else None
        return ModelPath(path=absolute(value), id=DEFAULT_MODEL_IDS[role], variant=variant)


class PathsReader(SectionReader[PathsConfig]):
    """``paths``. Of data sets, a name like an installed one is a mistake; another is kept, with a note."""

    record = PathsConfig

    def cache(self, value: Any) -> str:
        return absolute(value)

    def datasets(self, value: Any) -> dict[str, str]:
        errors = ErrorCollector()
        found: dict[str, str] = {}
        for key, path in mapping(value).items():
            with errors.at(key):
                name = self._dataset(key)
                if path is not None:
                    found[name] = absolute(path)
        errors.finish()
        return found

    def _dataset(self, key: str) -> str:
        installed = self.catalog.registry("data set")
        name = key.removesuffix("_local")
        if not key.endswith("_local") or not name:
            near = difflib.get_close_matches(f"{key}_local", [f"{d}_local" for d in installed], n=1)
            raise InvalidValue(f"data sets are named <data set>_local; write {near[0] if near else f'{key}_local'}")
        if name not in installed:
            if near := difflib.get_close_matches(name, installed, n=1):
                raise InvalidValue(f"no data set {name!r} is installed; did you mean {near[0]}_local?")
            log.warning("paths.datasets.%s belongs to no installed plugin; kept as it is", key)
        return name
