"""The section ``storage``: a mode, and sections that belong to the storage plugins."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from wmtp.config.config import StorageConfig
from wmtp.config.source import as_plain, unknown_key
from wmtp.config.structure import ErrorCollector, InvalidValue, faults, mapping, structure_scalar

if TYPE_CHECKING:
    import cattrs

    from wmtp.plugins import Plugins

log = logging.getLogger("wmtp.config")


def storage_hook(plugins: Plugins, converter: cattrs.Converter) -> Callable[[Any, Any], StorageConfig]:
    """Structures ``storage``. The selected mode must be installed and its section valid. Another mode's section that
    is not usable is kept as it is, with a note: the file may be shared with machines that have that plugin."""

    def structure(value: Any, _: Any) -> StorageConfig:
        section = mapping(value)
        errors = ErrorCollector()
        mode = "local"
        with errors.at("mode"):
            mode = structure_scalar(section.get("mode", mode), str)
            if mode not in plugins.storages:
                raise InvalidValue(plugins.missing("storage mode", mode, plugins.storages))
        by_mode: dict[str, Any] = {}
        sections = {key: inner for key, inner in section.items() if key != "mode"}
        for name in dict.fromkeys([mode, *sections]):
            if name not in (mode, *plugins.storages):
                with errors.at(name):
                    _keep(name, section[name], mode, plugins)
            elif name in plugins.storages:
                try:
                    by_mode[name] = _settings(name, sections.get(name), plugins, converter)
                except Exception as exc:
                    if name == mode:
                        with errors.at(name):
                            raise
                    else:
                        _note_invalid(name, mode, exc)
        errors.finish()
        return StorageConfig(mode=mode, settings=by_mode.get(mode), sections=as_plain(sections), by_mode=by_mode)

    return structure


def _settings(name: str, section: Any, plugins: Plugins, converter: cattrs.Converter) -> Any:
    cls = plugins.storages[name].spec.settings
    if cls is None:
        if unknown := list(mapping(section)):
            raise InvalidValue(unknown_key(unknown[0], []), (unknown[0],))
        return None
    return converter.structure(section, cls)


def _note_invalid(name: str, mode: str, exc: Exception) -> None:
    found = "; ".join(f"{'.'.join(map(str, path))}: {message}" if path else message for path, message in faults(exc))
    log.warning("storage.%s is not usable and is ignored, since storage.mode is %s (%s)", name, mode, found)


def _keep(name: str, section: Any, mode: str, plugins: Plugins) -> None:
    """Keeps the section of a storage that is not installed; what is no such section is a mistake."""
    selected = plugins.storages[mode].spec.settings if mode in plugins.storages else None
    fields = [a.name for a in attrs.fields(selected)] if selected else []
    if name in fields:
        raise InvalidValue(f"belongs in the section storage.{mode}")
    if not isinstance(section, Mapping) or difflib.get_close_matches(name, plugins.storages, n=1):
        raise InvalidValue(unknown_key(name, ["mode", *plugins.storages]))
    log.warning("storage.%s belongs to no installed plugin; kept as it is", name)
