"""What a recipe needs beyond types: metrics and their owners, evaluators' settings, and an ``n`` that suffices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cattrs

from wmtp.config.recipe import EvalConfig, ModelConfig, Recipe
from wmtp.config.source import Text, unknown_key
from wmtp.config.structure import (
    ErrorCollector,
    InvalidValue,
    absolute,
    mapping,
    record_hook,
    strict_converter,
    structure_scalar,
)
from wmtp.errors import WmtpError

if TYPE_CHECKING:
    from wmtp.plugins import Plugins


def recipe_converter(plugins: Plugins) -> cattrs.Converter:
    """The converter of recipe.yaml."""
    converter = strict_converter()
    model = record_hook(
        ModelConfig,
        converter,
        base_id=lambda value, _: None if value is None else model_reference(value),
        loader=_loader(plugins),
    )
    converter.register_structure_hook_func(lambda tp: tp is ModelConfig, model)
    converter.register_structure_hook_func(lambda tp: tp is EvalConfig, _eval_hook(plugins, converter))
    return converter


def model_reference(value: Any) -> str:
    """A model's reference. Folders and the FILE of ``samples:FILE`` are made absolute against the recipe's folder.

    ``org/name`` is a hub id unless it starts like a path (``./``, ``../``, ``/``, ``~``) or is a folder there.
    """
    text = structure_scalar(value, str)
    if not text:
        raise InvalidValue("is empty; name a model, or leave the key out")
    folder = value.folder if isinstance(value, Text) else Path.cwd()
    kind, colon, rest = text.partition(":")
    if colon and kind == "samples" and rest:
        return f"samples:{absolute(Text(rest, folder))}"
    if text.startswith(("./", "../", "/", "~")) or text in (".", "..") or (not colon and Path(folder, text).is_dir()):
        return absolute(Text(text, folder))
    return str(text)


def _loader(plugins: Plugins) -> Callable[[Any, Any], str | None]:
    def structure(value: Any, _: Any) -> str | None:
        name: str | None = structure_scalar(value, str | None)
        if name is not None and name not in plugins.loaders:
            raise InvalidValue(plugins.missing("loader", name, plugins.loaders))
        return name

    return structure


def _eval_hook(plugins: Plugins, converter: cattrs.Converter) -> Callable[[Any, Any], EvalConfig]:
    def structure(value: Any, tp: Any) -> EvalConfig:
        section = mapping(value)
        prefixes = _readable(section.get("metric_prefix"))
        asked = section.get("metrics")
        metrics = [m for m in asked if isinstance(m, str)] if isinstance(asked, list | tuple) else []
        needed, largest = _needed(metrics, prefixes, plugins)
        errors = ErrorCollector()
        record: EvalConfig | None = None
        with errors.at():
            record = record_hook(
                EvalConfig,
                converter,
                protocol=_protocol(plugins),
                metric_prefix=_prefixes(plugins, converter),
                metrics=_metrics(prefixes, plugins, converter),
                evaluators=_evaluators(needed, plugins, converter),
            )(section, EvalConfig)
        if "evaluators" not in section:
            with errors.at("evaluators"):
                defaults = _evaluators(needed, plugins, converter)({}, None)
        with errors.at("sampling", "n"):
            _check_n(section, largest)
        errors.finish()
        assert record is not None
        import attrs

        return record if "evaluators" in section else attrs.evolve(record, evaluators=defaults)

    return structure


def _readable(value: Any) -> dict[str, str]:
    """The prefixes as far as they can be read; what is wrong with them is said by their own hook."""
    if not isinstance(value, Mapping):
        return {}
    return {str(k): str(v) for k, v in value.items() if isinstance(k, str) and isinstance(v, str)}


def _needed(metrics: list[str], prefixes: Mapping[str, str], plugins: Plugins) -> tuple[set[str], tuple[int, str]]:
    """Ids of the evaluators that answer for these metrics, and the largest k with its metric. Unknown ones aside."""
    owners = []
    for name in metrics:
        try:
            owners.append((name, plugins.metric(name, prefixes)))
        except WmtpError:
            continue  # told where the metrics themselves are structured
    largest = max(((owner.k or 1, str(name)) for name, owner in owners), default=(1, ""))
    return {owner.evaluator.spec.id for _, owner in owners}, largest


def _check_n(section: Mapping[str, Any], largest: tuple[int, str]) -> None:
    sampling = section.get("sampling")
    n = sampling.get("n", 1) if isinstance(sampling, Mapping) else 1
    try:
        n = structure_scalar(n, int)
    except InvalidValue:
        return  # "auto", or something that the type's own hook complains about
    k, name = largest
    if 0 < n < k:
        raise InvalidValue(f"{name} needs at least {k} samples a problem, and n is {n}; set n: {k}, or n: auto")


def _protocol(plugins: Plugins) -> Callable[[Any, Any], str]:
    def structure(value: Any, _: Any) -> str:
        name: str = structure_scalar(value, str)
        plugins.protocol(name)
        return name

    return structure


def _prefixes(plugins: Plugins, converter: cattrs.Converter) -> Callable[[Any, Any], dict[str, str]]:
    def structure(value: Any, _: Any) -> dict[str, str]:
        prefixes = converter.structure(value, dict[str, str])
        loaded = [info.distribution for info in plugins.listing() if info.state == "loaded"]
        errors = ErrorCollector()
        for distribution, prefix in prefixes.items():
            with errors.at(distribution):
                if distribution not in loaded:
                    raise InvalidValue(plugins.missing("distribution", distribution, loaded))
                if not prefix or any(c.isspace() or c in "{}/" for c in prefix):
                    raise InvalidValue("must be some text without spaces, slashes and braces, like mine_", value=prefix)
        errors.finish()
        return prefixes

    return structure


def _metrics(
    prefixes: Mapping[str, str], plugins: Plugins, converter: cattrs.Converter
) -> Callable[[Any, Any], tuple[str, ...]]:
    def structure(value: Any, _: Any) -> tuple[str, ...]:
        metrics = converter.structure(value, tuple[str, ...])
        errors = ErrorCollector()
        for index, name in enumerate(metrics):
            with errors.at(index):
                plugins.metric(name, prefixes)
                if name in metrics[:index]:
                    raise InvalidValue(f"{name} is listed twice")
        errors.finish()
        return metrics

    return structure


def _evaluators(
    needed: set[str], plugins: Plugins, converter: cattrs.Converter
) -> Callable[[Any, Any], dict[str, Any]]:
    """Settings by evaluator id: those written, and the defaults of those that the metrics need."""

    def structure(value: Any, _: Any) -> dict[str, Any]:
        written = mapping(value)
        errors = ErrorCollector()
        settings: dict[str, Any] = {}
        for name in [*written, *sorted(needed - set(written))]:
            with errors.at(name):
                if name not in plugins.evaluators:
                    raise InvalidValue(plugins.missing("evaluator", name, plugins.evaluators))
                cls = plugins.evaluators[name].spec.settings
                if cls is not None:
                    settings[str(name)] = converter.structure(written.get(name), cls)
                elif unknown := list(mapping(written.get(name))):
                    raise InvalidValue(unknown_key(unknown[0], []), (unknown[0],))
        errors.finish()
        return settings

    return structure


__all__ = ["Recipe", "model_reference", "recipe_converter"]
