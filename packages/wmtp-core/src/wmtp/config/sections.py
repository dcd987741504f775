"""The sections of a file: core's own by their readers, a plugin's by its own class, options by the name of whose they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin

import attrs
import cattrs

from wmtp.config.source import unknown_key
from wmtp.config.structure import ErrorCollector, Hook, InvalidValue, mapping, record_hook, structure_scalar
from wmtp.contracts.catalog import Catalog
from wmtp.contracts.specs import Choice, OfKind

S = TypeVar("S")


class SectionReader(Generic[S]):
    """Structures one record of the configuration. A method named like a field structures that field; the others go by type.

    Making one registers it with the converter, so readers of records within come first.
    """

    record: ClassVar[type[Any]]

    def __init__(self, catalog: Catalog, converter: cattrs.Converter) -> None:
        self.catalog, self.converter = catalog, converter
        names = [a.name for a in attrs.fields(self.record) if hasattr(type(self), a.name)]
        self._structure = record_hook(self.record, converter, **{name: self._field(name) for name in names})
        converter.register_structure_hook_func(lambda tp: tp is self.record, lambda value, _: self.read(value))

    def _field(self, name: str) -> Hook:
        method = getattr(self, name)
        return lambda value, _: method(value)

    def read(self, value: Any) -> S:
        """The record, from what the file has in its place. Raises what `wmtp.config.structure.faults` can flatten."""
        record: S = self._structure(value, self.record)
        return record


class FileReader:
    """Structures a whole file: the record of core's own keys, with the sections that plugins own in its `sections`."""

    def __init__(self, file: str, record: type[Any], catalog: Catalog, converter: cattrs.Converter) -> None:
        self.file, self.record, self.catalog, self.converter = file, record, catalog, converter
        self._core = [a.name for a in attrs.fields(record) if a.name != "sections"]
        specs = (registered.spec for registered in catalog.registry("section").values())
        self.owned = {spec.name: spec for spec in specs if spec.file == file and spec.name not in self._core}
        places = {kind.settings: kind for kind in catalog.kinds() if kind.settings}
        self.by_name = {
            key: kind
            for place, kind in places.items()
            for key in [place.removeprefix(f"{file}.")]
            if place.startswith(f"{file}.") and "." not in key and key not in self._core
        }
        claimed = getattr(catalog.registry("section"), "conflicts", {})
        self.keys: tuple[str, ...] = tuple(dict.fromkeys([*self._core, *self.by_name, *self.owned, *claimed]))

    def unknown(self, key: str, known: Sequence[str] = ()) -> str:
        """What to say of a key that stands at the top of the file and is nobody's. known: the keys it may be instead."""
        known = known or self.keys
        if provider := self.catalog.provider("section", key):
            return f"unknown key; known: {', '.join(known)}{provider}"
        return unknown_key(key, known)

    def read(self, data: Mapping[str, Any]) -> Any:
        data = mapping(data)
        errors, sections = ErrorCollector(), {}
        record: Any = None
        with errors.at():
            record = self.converter.structure({k: v for k, v in data.items() if k in self._core}, self.record)
        for key, value in data.items():
            if key in self._core:
                continue
            with errors.at(key):
                sections[key] = self._section(key, value)
        errors.finish()
        return attrs.evolve(record, sections=sections)

    def _section(self, key: str, value: Any) -> Any:
        if kind := self.by_name.get(key):
            return settings_by_name(kind.name, value, self.catalog, self.converter)
        if key not in self.keys:
            raise InvalidValue(self.unknown(key))
        return self.converter.structure(value, self.catalog.registry("section")[key].spec.settings)


def settings_of(cls: type[Any] | None, value: Any, converter: cattrs.Converter) -> Any:
    """The options of one record, by the class that it names; ``None`` for one that takes none."""
    if cls is not None:
        return converter.structure(value, cls)
    if unknown := list(mapping(value)):
        raise InvalidValue(unknown_key(unknown[0], []), (unknown[0],))
    return None


def settings_by_name(kind: str, value: Any, catalog: Catalog, converter: cattrs.Converter) -> dict[str, Any]:
    """A section whose keys are names of a kind, each with its options. A name that nobody provides is an error."""
    registry = catalog.registry(kind)
    errors, settings = ErrorCollector(), {}
    for name, written in mapping(value).items():
        with errors.at(name):
            if name not in registry:
                raise InvalidValue(catalog.missing(kind, name, registry))
            settings[str(name)] = settings_of(registry[name].spec.settings, written, converter)
    errors.finish()
    return settings


def add_choices(catalog: Catalog, converter: cattrs.Converter) -> None:
    """Lets a section of a plugin's hold ``Annotated[Choice, OfKind("scorer")]``: a name of that kind, with its options."""

    def structure(value: Any, tp: Any) -> Choice:
        kind = next(a.kind for a in get_args(tp)[1:] if isinstance(a, OfKind))
        registry = catalog.registry(kind)
        written = dict(mapping(value)) if isinstance(value, Mapping) else {"name": value}
        errors = ErrorCollector()
        name, settings = "", None
        with errors.at("name"):
            name = structure_scalar(written.pop("name", None), str)
            if name not in registry:
                raise InvalidValue(catalog.missing(kind, name, registry))
        if name in registry:
            with errors.at():
                settings = settings_of(registry[name].spec.settings, written, converter)
        errors.finish()
        return Choice(name=name, settings=settings)

    converter.register_structure_hook_func(_is_choice, structure)


def _is_choice(tp: Any) -> bool:
    return get_origin(tp) is Annotated and get_args(tp)[0] is Choice
