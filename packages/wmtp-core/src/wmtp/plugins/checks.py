"""What a plugin must get right before it is let in. Each fault is one line that its author can act on."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Any

import pluggy

from wmtp.contracts.specs import CORE_API
from wmtp.plugins import hookspecs, kinds
from wmtp.plugins.kinds import Kind


class PluginFault(Exception):  # noqa: N818  (not an error of the user's: it becomes one line of the listing)
    """A plugin breaks a rule of the plugin manager; the text says which."""


def new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("wmtp")
    manager.add_hookspecs(hookspecs)
    for kind in kinds.KINDS:
        if kind.hook_name not in vars(hookspecs):
            namespace = types.ModuleType(kind.hook_name)
            setattr(namespace, kind.hook_name, kind.hook)
            manager.add_hookspecs(namespace)
    return manager


def check_plugin(plugin: Any, probation: pluggy.PluginManager) -> list[tuple[Kind, Any]]:
    """Puts a plugin through a manager that is there for nothing else: one that fails half-way must leave no trace in the real
    one. Returns the records that it registers, each with its kind.

    Args:
        plugin: A module or object.
        probation: As `new_manager` makes it. To make one takes longer than to check a plugin, so all are checked in one.

    Raises:
        PluginFault: It breaks a rule. Whatever the plugin's own registration hooks raise is raised as well.
    """
    try:
        return _checked(plugin, probation)
    finally:
        if probation.is_registered(plugin):
            probation.unregister(plugin)


def _checked(plugin: Any, probation: pluggy.PluginManager) -> list[tuple[Kind, Any]]:
    wanted = getattr(plugin, "requires_core_api", CORE_API)
    if wanted != CORE_API:
        raise PluginFault(f"needs core API {wanted}, this core has {CORE_API}; install a matching wmtp-core")
    _check_marks(plugin)
    try:
        probation.register(plugin)
    except pluggy.PluginValidationError as exc:
        raise PluginFault(" ".join(str(exc).split())) from exc
    implemented = {caller.name: caller for caller in probation.get_hookcallers(plugin) or ()}
    if not implemented:
        raise PluginFault("implements no hook; mark its functions with @wmtp.hookimpl")
    for name, caller in sorted(implemented.items()):
        implementations = caller.get_hookimpls()
        if not caller.has_spec():
            if not all(i.optionalhook for i in implementations):
                raise PluginFault(f"unknown hook {name!r}{_did_you_mean(name, probation)}")
        elif any(i.wrapper or i.hookwrapper for i in implementations):
            raise PluginFault(f"{name} is a hook wrapper; wrappers are refused, as one could rewrite others' results")
    registered = [
        (kind, spec)
        for kind in kinds.KINDS
        if kind.hook_name in implemented
        for implementation in implemented[kind.hook_name].get_hookimpls()
        for spec in _specs(kind, implementation.function())
    ]
    _check_evaluators([s for k, s in registered if k.name == "evaluator"], serves="wmtp_evaluate" in implemented)
    return registered


def _did_you_mean(name: str, manager: pluggy.PluginManager) -> str:
    hooks = [n for n in vars(manager.hook) if n.startswith("wmtp_") and getattr(manager.hook, n).has_spec()]
    near = difflib.get_close_matches(name, hooks, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; the hooks are {', '.join(hooks)}"


def _check_marks(plugin: Any) -> None:
    for name in dir(plugin):
        if not name.startswith("wmtp_"):
            continue
        value = getattr(plugin, name)
        if isinstance(value, types.FunctionType | types.MethodType) and not hasattr(value, "wmtp_impl"):
            raise PluginFault(f"function {name} is not marked with @wmtp.hookimpl; mark it, or give it another name")


def _specs(kind: Kind, answer: Any) -> Iterator[Any]:
    hook, record = kind.hook_name, kind.record
    if answer is None or isinstance(answer, str | bytes | record) or not hasattr(answer, "__iter__"):
        raise PluginFault(f"{hook} returned {_shown(answer)}, not a list of wmtp.{record.__name__}")
    seen: set[str] = set()
    for spec in answer:
        if not isinstance(spec, record):
            raise PluginFault(f"{hook} returned a list with {_shown(spec)} in it, not only wmtp.{record.__name__}")
        name = kind.name_of(spec)
        if name in seen:
            raise PluginFault(f"{hook} returned {name!r} twice")
        seen.add(name)
        yield spec


def _shown(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _check_evaluators(specs: list[Any], *, serves: bool) -> None:
    claims: dict[str, str] = {}
    for spec in specs:
        if spec.evaluate is None and not serves:
            raise PluginFault(
                f"registers evaluator {spec.id!r}, but neither EvaluatorSpec.evaluate nor the hook wmtp_evaluate runs it"
            )
        for metric in spec.metrics:
            if metric in claims:
                raise PluginFault(f"metric {metric!r} is claimed by its evaluators {claims[metric]!r} and {spec.id!r}")
            claims[metric] = spec.id
