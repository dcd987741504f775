"""JSON schemas of config.yaml and recipe.yaml, with the sections of the installed plugins: for editors."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import attrs

from wmtp.config.config import Config, ModelPath, PathsConfig, StorageConfig
from wmtp.config.recipe import EvalConfig, Recipe
from wmtp.config.structure import SEQUENCES

if TYPE_CHECKING:
    from wmtp.plugins import Plugins

Schema = dict[str, Any]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", Path: "string"}


def config_schema(plugins: Plugins) -> Schema:
    """The schema of config.yaml."""
    return {"$schema": _DRAFT, "title": "WMTP config.yaml", **_Generator(plugins).of(Config)}


def recipe_schema(plugins: Plugins) -> Schema:
    """The schema of recipe.yaml."""
    return {"$schema": _DRAFT, "title": "WMTP recipe.yaml", **_Generator(plugins).of(Recipe)}


class _Generator:
    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins

    def of(self, tp: Any) -> Schema:
        """Scalars out of ``${…}`` have no type yet, so text of that form is allowed wherever a scalar is."""
        schema = self._of(tp)
        if isinstance(schema.get("type"), str) and schema["type"] in ("boolean", "integer", "number"):
            return {"anyOf": [schema, _SUBSTITUTED]}
        return schema

    def _of(self, tp: Any) -> Schema:
        special = {StorageConfig: self._storage, ModelPath: self._model_path}
        if tp in special:
            return special[tp]()
        if isinstance(tp, type) and attrs.has(tp):
            return self.section(tp)
        origin, arguments = get_origin(tp), get_args(tp)
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(member) for member in arguments]}
        if origin is Literal:
            return {"enum": list(arguments)}
        if isinstance(tp, type) and issubclass(tp, enum.Enum):
            return {"enum": [member.value for member in tp]}
        if (origin or tp) in SEQUENCES:
            items = [a for a in arguments if a is not Ellipsis]
            return {"type": "array", **({"items": self.of(items[0])} if items else {})}
        if (origin or tp) in (dict, Mapping):
            inner = arguments[1] if arguments else Any
            return {"type": ["object", "null"], **({} if inner is Any else {"additionalProperties": self.of(inner)})}
        return {"type": _TYPES[tp]} if tp in _TYPES else {}

    def section(self, cls: type[Any]) -> Schema:
        cls = attrs.resolve_types(cls)
        fields = [a for a in attrs.fields(cls) if a.init]
        properties = {a.name: self._field(cls, a) for a in fields}
        schema: Schema = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
        if (cls.__doc__ or "").strip() and not (cls.__doc__ or "").startswith("Method generated"):
            schema["description"] = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        if required := [a.name for a in fields if a.default is attrs.NOTHING]:
            schema["required"] = required
        return schema

    def _field(self, cls: type[Any], field: attrs.Attribute[Any]) -> Schema:
        if cls is PathsConfig and field.name == "datasets":
            return self._datasets()
        if cls is EvalConfig and field.name == "evaluators":
            return self._evaluators()
        schema = self.of(field.type)
        plain = field.default is None or isinstance(field.default, str | bool | int | float)
        return {**schema, "default": field.default} if plain else schema

    def _storage(self) -> Schema:
        modes: dict[str, Any] = {"mode": {"enum": list(self.plugins.storages), "default": "local"}}
        for name, owned in self.plugins.storages.items():
            modes[name] = self._settings(owned.spec.settings, owned.spec.summary)
        # A section of a storage that is not installed here is kept, so other objects are allowed.
        return {"type": ["object", "null"], "properties": modes, "additionalProperties": {"type": "object"}}

    def _datasets(self) -> Schema:
        path: Schema = {"type": ["string", "null"]}
        known = {f"{name}_local": {**path, "description": o.spec.summary} for name, o in self.plugins.datasets.items()}
        return {"type": ["object", "null"], "properties": known, "patternProperties": {"_local$": path},
                "additionalProperties": False}  # fmt: skip

    def _evaluators(self) -> Schema:
        known = {i: self._settings(o.spec.settings, o.spec.summary) for i, o in self.plugins.evaluators.items()}
        return {"type": ["object", "null"], "properties": known, "additionalProperties": False}

    def _model_path(self) -> Schema:
        return {"anyOf": [{"type": "string", "description": "a copy of the default model"}, self.section(ModelPath)]}

    def _settings(self, cls: type[Any] | None, summary: str) -> Schema:
        section = self.section(cls) if cls else {"type": ["object", "null"], "additionalProperties": False}
        return {"description": summary, **section}


_SUBSTITUTED: Schema = {"type": "string", "pattern": r"^\$\{.*\}$"}
