"""What a plugin must get right before it is let in. Each fault is one line that its author can act on."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pluggy

from wmtp.contracts.specs import CORE_API, DatasetSpec, EvaluatorSpec, LoaderSpec, ScorerSpec, StorageSpec
from wmtp.plugins import hookspecs

Spec = StorageSpec | LoaderSpec | DatasetSpec | EvaluatorSpec | ScorerSpec
REGISTRATION: dict[str, type[Any]] = {
    "wmtp_storages": StorageSpec,
    "wmtp_loaders": LoaderSpec,
    "wmtp_datasets": DatasetSpec,
    "wmtp_evaluators": EvaluatorSpec,
    "wmtp_scorers": ScorerSpec,
}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # it becomes a file name and a key in YAML
_METRIC = re.compile(r"[^\s{}/]*(\{k\})?[^\s{}/]*")


class PluginFault(Exception):  # noqa: N818  (not an error of the user's: it becomes one line of the listing)
    """A plugin breaks a rule of the plugin manager; the text says which."""


def new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("wmtp")
    manager.add_hookspecs(hookspecs)
    return manager


def check_plugin(plugin: Any) -> dict[str, list[Spec]]:
    """Puts a plugin through a manager of its own. Returns what it registers, by hook.

    In a manager of its own, because a plugin that fails half-way must leave no trace in the real one.
    Raises `PluginFault`, or whatever the plugin's own registration hooks raise.
    """
    wanted = getattr(plugin, "requires_core_api", CORE_API)
    if wanted != CORE_API:
        raise PluginFault(f"needs core API {wanted}, this core has {CORE_API}; install a matching wmtp-core")
    _check_marks(plugin)
    probation = new_manager()
    try:
        probation.register(plugin)
    except pluggy.PluginValidationError as exc:
        raise PluginFault(" ".join(str(exc).split())) from exc
    registered: dict[str, list[Spec]] = {}
    implemented = {caller.name: caller for caller in probation.get_hookcallers(plugin) or ()}
    if not implemented:
        raise PluginFault("implements no hook; mark its functions with @wmtp.hookimpl")
    for name, caller in sorted(implemented.items()):
        implementations = caller.get_hookimpls()
        if not caller.has_spec():
            if not all(i.optionalhook for i in implementations):
                raise PluginFault(f"unknown hook {name!r}{_did_you_mean(name)}")
            continue
        if any(i.wrapper or i.hookwrapper for i in implementations):
            raise PluginFault(f"{name} is a hook wrapper; wrappers are refused, as one could rewrite others' results")
        if record := REGISTRATION.get(name):
            registered[name] = [spec for i in implementations for spec in _specs(name, record, i.function())]
    _check_evaluators(registered.get("wmtp_evaluators", []), serves="wmtp_evaluate" in implemented)
    return registered


def _did_you_mean(name: str) -> str:
    hooks = [n for n in vars(hookspecs) if n.startswith("wmtp_")]
    near = difflib.get_close_matches(name, hooks, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; the hooks are {', '.join(hooks)}"


def _check_marks(plugin: Any) -> None:
    for name in dir(plugin):
        if not name.startswith("wmtp_"):
            continue
        value = getattr(plugin, name)
        if isinstance(value, types.FunctionType | types.MethodType) and not hasattr(value, "wmtp_impl"):
            raise PluginFault(f"function {name} is not marked with @wmtp.hookimpl; mark it, or give it another name")


def _specs(hook: str, record: type[Any], answer: Any) -> Iterator[Spec]:
    if answer is None or isinstance(answer, str | bytes | record) or not hasattr(answer, "__iter__"):
        raise PluginFault(f"{hook} returned {_shown(answer)}, not a list of wmtp.{record.__name__}")
    seen: set[str] = set()
    for spec in answer:
        if not isinstance(spec, record):
            raise PluginFault(f"{hook} returned a list with {_shown(spec)} in it, not only wmtp.{record.__name__}")
        for fault in _field_faults(spec):
            raise PluginFault(f"{hook}: {record.__name__}.{fault}")
        name = spec_name(spec)
        if name in seen:
            raise PluginFault(f"{hook} returned {name!r} twice")
        seen.add(name)
        yield spec


def _shown(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def spec_name(spec: Spec) -> str:
    """The name that a record is found by."""
    if isinstance(spec, EvaluatorSpec):
        return spec.id
    return spec.mode if isinstance(spec, StorageSpec) else spec.name


def _field_faults(spec: Spec) -> Iterator[str]:
    for name, value in attrs.asdict(spec, recurse=False).items():
        if name in ("id", "name", "mode"):
            if not isinstance(value, str) or not _ID.fullmatch(value):
                yield f"{name} is {value!r}; letters, digits, '.', '_' and '-' only"
        elif name == "summary":
            if not isinstance(value, str) or not value.strip() or "\n" in value:
                yield f"summary is {value!r}; one line of text"
        elif name in ("metrics", "schemes", "hub_patterns"):
            if not isinstance(value, tuple | list) or not all(isinstance(v, str) and v for v in value):
                yield f"{name} is {value!r}; a tuple of strings"
            elif name == "metrics" and (bad := [v for v in value if not _METRIC.fullmatch(v)]):
                yield f"metrics holds {bad[0]!r}; no spaces or slashes, and no braces but one {{k}}"
        elif name == "settings":
            if value is not None and not (isinstance(value, type) and attrs.has(value)):
                yield f"settings is {value!r}; an attrs class, or None"
        elif name in ("dataset", "protocol", "hub_id"):
            if value is not None and (not isinstance(value, str) or not value):
                yield f"{name} is {value!r}; a string, or None"
        elif name == "descriptions":
            if not isinstance(value, Mapping) or not all(isinstance(v, str) and v.strip() for v in value.values()):
                yield f"descriptions is {value!r}; a mapping of metrics to text"
            elif foreign := sorted(map(str, set(value) - set(getattr(spec, "metrics", ())))):
                yield f"descriptions holds {foreign[0]!r}, which is none of the metrics"
        elif name == "samples":
            if not isinstance(value, bool):
                yield f"samples is {value!r}; true or false"
        elif not callable(value) and (value is not None or name in ("load", "matches", "open", "create")):
            yield f"{name} is {value!r}, which cannot be called"


def _check_evaluators(specs: list[Any], *, serves: bool) -> None:
    claims: dict[str, str] = {}
    for spec in specs:
        if spec.protocol is None and not spec.metrics:
            raise PluginFault(f"evaluator {spec.id!r} answers for no metric")
        if spec.protocol is None and not serves:
            raise PluginFault(f"registers evaluator {spec.id!r} but does not implement wmtp_evaluate")
        for metric in spec.metrics:
            if metric in claims:
                raise PluginFault(f"metric {metric!r} is claimed by its evaluators {claims[metric]!r} and {spec.id!r}")
            claims[metric] = spec.id
