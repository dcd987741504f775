"""Records back to plain data: what a run directory keeps as config.yaml and recipe.yaml, and results.json repeats."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from wmtp.config.config import Config
from wmtp.config.recipe import Recipe
from wmtp.config.source import dump_yaml, has_userinfo, is_secret
from wmtp.contracts.specs import Choice

HIDDEN = "(hidden)"


def to_plain(record: Config | Recipe) -> dict[str, Any]:
    """Dicts, lists and scalars that JSON and YAML can hold, in the form of the file that they came from.

    Reading it again gives an equal record. Values under keys that name a secret are replaced: a section that no plugin
    has structured may hold some.
    """
    data: dict[str, Any] = _plain(record)
    data |= data.pop("sections")
    if isinstance(record, Config):
        data["storage"] = {"mode": record.storage.mode, **_without_passwords(_plain(record.storage.sections))}
        data["paths"]["datasets"] = {f"{name}_local": path for name, path in record.paths.datasets.items()}
    return data


def to_yaml(record: Config | Recipe) -> str:
    """`to_plain` as the text of a file that can be read again. ``${`` is escaped: nothing is substituted twice."""
    return dump_yaml(_escaped(to_plain(record)))


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _without_passwords(value: Any) -> Any:
    """Sections of storage that are not selected are kept as written, valid or not."""
    if isinstance(value, dict):
        return {key: _without_passwords(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_passwords(inner) for inner in value]
    return HIDDEN if has_userinfo(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Choice):
        return {"name": value.name, **(_plain(value.settings) or {})}
    if attrs.has(type(value)):
        return {a.name: _plain(getattr(value, a.name)) for a in attrs.fields(type(value)) if a.init}
    if isinstance(value, Mapping):
        return {key: HIDDEN if is_secret(key) and inner else _plain(inner) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=str)
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    return str(value) if isinstance(value, Path) else value
