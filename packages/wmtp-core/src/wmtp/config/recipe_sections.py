"""The readers of recipe.yaml's sections: what they need beyond types are metrics' owners, plugins' settings, an ``n`` that
suffices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import attrs
import cattrs

from wmtp.config.recipe import EvalConfig, ModelConfig, Recipe
from wmtp.config.sections import FileReader, SectionReader, add_choices, settings_by_name, settings_of
from wmtp.config.source import Text
from wmtp.config.structure import (
    ErrorCollector,
    InvalidValue,
    absolute,
    mapping,
    strict_converter,
    structure_scalar,
)
from wmtp.contracts.catalog import Catalog, MetricOwner
from wmtp.contracts.specs import Resolved
from wmtp.errors import WmtpError


def recipe_reader(catalog: Catalog) -> FileReader:
    """The reader of the whole of recipe.yaml."""
    converter = strict_converter()
    add_choices(catalog, converter)
    converter.register_structure_hook_func(_is_resolved, lambda value, tp: _resolved(value, tp, catalog))
    for reader in (ModelReader, EvalReader):
        reader(catalog, converter)
    return FileReader("recipe", Recipe, catalog, converter)


def _is_resolved(tp: Any) -> bool:
    return get_origin(tp) is Annotated and any(isinstance(mark, Resolved) for mark in get_args(tp)[1:])


def _resolved(value: Any, tp: Any, catalog: Catalog) -> str:
    what = next(mark.what for mark in get_args(tp)[1:] if isinstance(mark, Resolved))
    return model_reference(value, catalog) if what == "model" else absolute(value)


class ModelReader(SectionReader[ModelConfig]):
    """``model``."""

    record = ModelConfig

    def base_id(self, value: Any) -> str | None:
        return None if value is None else model_reference(value, self.catalog)

    def loader(self, value: Any) -> str | None:
        name: str | None = structure_scalar(value, str | None)
        installed = self.catalog.registry("loader")
        if name is not None and name not in installed:
            raise InvalidValue(self.catalog.missing("loader", name, installed))
        return name

    def loaders(self, value: Any) -> dict[str, Any]:
        return settings_by_name("loader", value, self.catalog, self.converter)


def model_reference(value: Any, catalog: Catalog) -> str:
    """A model's reference. Folders, and the paths that a loader knows in its own, are made absolute against the recipe's.

    ``org/name`` is a hub id unless it starts like a path (``./``, ``../``, ``/``, ``~``) or is a folder there.
    """
    text = structure_scalar(value, str)
    if not text:
        raise InvalidValue("is empty; name a model, or leave the key out")
    folder = value.folder if isinstance(value, Text) else Path.cwd()
    for owned in catalog.registry("loader").values():
        spec = owned.spec
        if spec.absolute is not None and spec.matches(text):
            return str(spec.absolute(text, folder))
    if (
        text.startswith(("./", "../", "/", "~"))
        or text in (".", "..")
        or (":" not in text and Path(folder, text).is_dir())
    ):
        return absolute(Text(text, folder))
    return str(text)


class EvalReader(SectionReader[EvalConfig]):
    """``eval``. Each metric's owner is resolved once, before anything else: prefixes, options and ``n`` depend on them."""

    record = EvalConfig

    def __init__(self, catalog: Catalog, converter: cattrs.Converter) -> None:
        super().__init__(catalog, converter)
        self._owners: dict[str, MetricOwner | WmtpError] = {}

    def read(self, value: Any) -> EvalConfig:
        section = mapping(value)
        self._owners = self._resolve(section)
        errors = ErrorCollector()
        record: EvalConfig | None = None
        with errors.at():
            record = super().read(section)
        evaluators: dict[str, Any] = {}
        if "evaluators" not in section:
            with errors.at("evaluators"):
                evaluators = self.evaluators({})
        with errors.at("sampling", "n"):
            self._check_n(section)
        errors.finish()
        assert record is not None
        return record if "evaluators" in section else attrs.evolve(record, evaluators=evaluators)

    def _resolve(self, section: Mapping[str, Any]) -> dict[str, MetricOwner | WmtpError]:
        asked, written = section.get("metrics"), section.get("metric_prefix")
        # The prefixes as far as they can be read; what is wrong with them is said by `metric_prefix`.
        pairs = written.items() if isinstance(written, Mapping) else ()
        prefixes = {str(k): str(v) for k, v in pairs if isinstance(k, str) and isinstance(v, str)}
        owners: dict[str, MetricOwner | WmtpError] = {}
        for name in asked if isinstance(asked, list | tuple) else ():
            if isinstance(name, str):
                try:
                    owners[str(name)] = self.catalog.metric(str(name), prefixes)
                except WmtpError as error:
                    owners[str(name)] = error  # told where the metrics themselves are structured
        return owners

    def _found(self) -> dict[str, MetricOwner]:
        return {name: owner for name, owner in self._owners.items() if isinstance(owner, MetricOwner)}

    def _check_n(self, section: Mapping[str, Any]) -> None:
        sampling = section.get("sampling")
        n = sampling.get("n", 1) if isinstance(sampling, Mapping) else 1
        try:
            n = structure_scalar(n, int)
        except InvalidValue:
            return  # "auto", or something that the type's own hook complains about
        k, name = max(((owner.k or 1, name) for name, owner in self._found().items()), default=(1, ""))
        if 0 < n < k:
            raise InvalidValue(f"{name} needs at least {k} samples a problem, and n is {n}; set n: {k}, or n: auto")

    def protocol(self, value: Any) -> str:
        name: str = structure_scalar(value, str)
        self.catalog.protocol(name)
        return name

    def metric_prefix(self, value: Any) -> dict[str, str]:
        prefixes: dict[str, str] = self.converter.structure(value, dict[str, str])
        loaded = self.catalog.distributions()
        errors = ErrorCollector()
        for distribution, prefix in prefixes.items():
            with errors.at(distribution):
                if distribution not in loaded:
                    raise InvalidValue(self.catalog.missing("distribution", distribution, loaded))
                if not prefix or any(c.isspace() or c in "{}/" for c in prefix):
                    raise InvalidValue("must be some text without spaces, slashes and braces, like mine_", value=prefix)
        errors.finish()
        return prefixes

    def metrics(self, value: Any) -> tuple[str, ...]:
        metrics: tuple[str, ...] = self.converter.structure(value, tuple[str, ...])
        errors = ErrorCollector()
        for index, name in enumerate(metrics):
            with errors.at(index):
                if isinstance(owner := self._owners[name], WmtpError):
                    raise owner
                if name in metrics[:index]:
                    raise InvalidValue(f"{name} is listed twice")
        errors.finish()
        return metrics

    def evaluators(self, value: Any) -> dict[str, Any]:
        """Settings by evaluator id: those written, and the defaults of those that the metrics need."""
        written = mapping(value)
        needed = {owner.evaluator.spec.id for owner in self._found().values()}
        installed = self.catalog.registry("evaluator")
        errors = ErrorCollector()
        settings: dict[str, Any] = {}
        for name in [*written, *sorted(needed - set(written))]:
            with errors.at(name):
                if name not in installed:
                    raise InvalidValue(self.catalog.missing("evaluator", name, installed))
                options = settings_of(installed[name].spec.settings, written.get(name), self.converter)
                if options is not None:
                    settings[str(name)] = options
        errors.finish()
        return settings
