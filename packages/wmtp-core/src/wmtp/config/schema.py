"""JSON schemas of config.yaml and recipe.yaml, with the sections of the installed plugins: for editors."""

from __future__ import annotations

import enum
import inspect
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs

from wmtp.config.config import ModelPath, PathsConfig, StorageConfig
from wmtp.config.config_sections import config_reader
from wmtp.config.recipe import EvalConfig, ModelConfig
from wmtp.config.recipe_sections import recipe_reader
from wmtp.config.sections import FileReader
from wmtp.config.structure import SEQUENCES
from wmtp.contracts.catalog import Catalog
from wmtp.contracts.specs import OfKind

Schema = dict[str, Any]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", Path: "string"}


def config_schema(plugins: Catalog) -> Schema:
    """The schema of config.yaml."""
    return {"$schema": _DRAFT, "title": "WMTP config.yaml", **_Generator(plugins).file(config_reader(plugins))}


def recipe_schema(plugins: Catalog) -> Schema:
    """The schema of recipe.yaml."""
    return {"$schema": _DRAFT, "title": "WMTP recipe.yaml", **_Generator(plugins).file(recipe_reader(plugins))}


def descriptions(cls: type[Any]) -> dict[str, str]:
    """Field → what its class's docstring says of it under ``Attributes:``."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        _, _, listed = inspect.cleandoc(one.__doc__ or "").partition("\nAttributes:\n")
        entries = _ENTRY.findall(listed.split("\n\n")[0])
        found |= {name: " ".join(text.replace("``", "`").split()) for name, text in entries}
    return found


class _Generator:
    def __init__(self, plugins: Catalog) -> None:
        self.catalog = plugins

    def file(self, reader: FileReader) -> Schema:
        """Core's own keys, the sections that plugins own, and the options that stand at the top by name (``tracking``)."""
        schema = self.section(reader.record)
        del schema["properties"]["sections"]
        for key, spec in reader.owned.items():
            schema["properties"][key] = self._settings(spec.settings, spec.summary)
        said = descriptions(reader.record)
        for key, kind in reader.by_name.items():
            # Core's own kinds have a sentence; of another its name is what is known.
            description = said.get(key, f"Settings of each {kind.name}, by its name.")
            schema["properties"][key] = {"description": description, **self._by_name(kind.name)}
        return schema

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
        if origin is Annotated:
            kinds = [a.kind for a in arguments[1:] if isinstance(a, OfKind)]
            return self._choice(kinds[0]) if kinds else self.of(arguments[0])
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
        said = descriptions(cls)
        properties = {
            a.name: {**self._field(cls, a), **({"description": said[a.name]} if a.name in said else {})} for a in fields
        }
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
            return self._by_name("evaluator")
        if cls is ModelConfig and field.name == "loaders":
            return self._by_name("loader")
        schema = self.of(field.type)
        plain = field.default is None or isinstance(field.default, str | bool | int | float)
        return {**schema, "default": field.default} if plain else schema

    def _storage(self) -> Schema:
        names = list(self.catalog.registry("storage mode"))
        mode = {"enum": names, "default": "local", "description": descriptions(StorageConfig)["mode"]}
        modes: dict[str, Any] = {"mode": mode}
        for name, owned in self.catalog.registry("storage mode").items():
            modes[name] = self._settings(owned.spec.settings, owned.spec.summary)
        # A section of a storage that is not installed here is kept, so other objects are allowed.
        return {"type": ["object", "null"], "properties": modes, "additionalProperties": {"type": "object"}}

    def _datasets(self) -> Schema:
        path: Schema = {"type": ["string", "null"]}
        installed = self.catalog.registry("data set").items()
        known = {f"{name}_local": {**path, "description": r.spec.summary} for name, r in installed}
        return {"type": ["object", "null"], "properties": known, "patternProperties": {"_local$": path},
                "additionalProperties": False}  # fmt: skip

    def _by_name(self, kind: str) -> Schema:
        entries = self.catalog.registry(kind).items()
        known = {name: self._settings(r.spec.settings, r.spec.summary) for name, r in entries}
        return {"type": ["object", "null"], "properties": known, "additionalProperties": False}

    def _choice(self, kind: str) -> Schema:
        """A name of a kind, alone or with its options."""
        names: Schema = {"enum": list(self.catalog.registry(kind))}
        forms = []
        for name, registered in self.catalog.registry(kind).items():
            section = self._settings(registered.spec.settings, registered.spec.summary)
            section["properties"] = {"name": {"const": name}, **section.get("properties", {})}
            forms.append({**section, "type": "object", "required": ["name", *section.get("required", [])]})
        return {"anyOf": [names, *forms]}

    def _model_path(self) -> Schema:
        return {"anyOf": [{"type": "string", "description": "a copy of the default model"}, self.section(ModelPath)]}

    def _settings(self, cls: type[Any] | None, summary: str) -> Schema:
        section = self.section(cls) if cls else {"type": ["object", "null"], "additionalProperties": False}
        return {"description": summary, **section}


_SUBSTITUTED: Schema = {"type": "string", "pattern": r"^\$\{.*\}$"}
