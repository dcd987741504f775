"""Finding plugins and letting them in, one by one: what breaks one costs the others nothing."""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
from pluggy import PluginManager

from wmtp import contracts
from wmtp.errors import PluginError
from wmtp.plugins.checks import PluginFault, check_plugin, new_manager
from wmtp.plugins.kinds import Kind
from wmtp.plugins.manager import Plugins
from wmtp.plugins.registry import PluginInfo

GROUP = "wmtp"
CORE = "wmtp-core"
BUILTIN = "wmtp.builtin"
"""Core's own plugin; only its name is known here."""

_NAME_ENDS = re.compile(r"[^A-Za-z0-9._-]")
_NUMBERS = re.compile(r"\d+(?:\.\d+){0,7}")
_BOUND = re.compile(rf"(>=|<)({_NUMBERS.pattern})")
_BOUNDS = re.compile(rf"[\w.-]+(?:\[[\w,.-]*\])?((?:{_BOUND.pattern},?)*)")
_CONTRACTS = str(Path(contracts.__file__).parent)
log = logging.getLogger("wmtp.plugins")


@attrs.frozen
class _Candidate:
    """A plugin that was found: an object given by the caller, or the entry points of a distribution."""

    distribution: str
    version: str
    plugin: Any = None
    points: tuple[metadata.EntryPoint, ...] = ()
    requires: tuple[str, ...] = ()


def create_plugin_manager(
    *,
    plugins: Iterable[Any] = (),
    entry_points: bool = True,
    allow: Iterable[str] | None = None,
    block: Iterable[str] = (),
) -> Plugins:
    """Loads core's own plugin, those given, and those of the installed distributions.

    Args:
        plugins: Modules or objects with hook implementations, in use whatever `allow` says.
        entry_points: Whether to look for installed distributions at all.
        allow: Distributions to load; ``None`` takes WMTP_PLUGINS (comma-separated, empty: none), else all.
        block: Distributions not to import (``--no-plugin``).

    A plugin that fails is left out with one warning on the logger ``wmtp.plugins``; WMTP_STRICT_PLUGINS=1 makes that an
    error. Raises `PluginError` for that, and for names in `allow` or `block` that no distribution has.
    """
    installed = {c.distribution: c for c in _installed()} if entry_points or plugins else {}
    given = [_given(plugin, installed) for plugin in plugins]
    names = {c.distribution for c in given}
    if len(names) != len(given):
        raise PluginError(f"two of the plugins given have one name: {', '.join(c.distribution for c in given)}")
    found = [c for name, c in installed.items() if name not in names] if entry_points else []
    blocked = _blocked(given, found, allow, [normalize(name) for name in block])

    core = _Candidate(CORE, _core_version(), points=(metadata.EntryPoint(CORE, BUILTIN, GROUP),))
    loaded: list[tuple[PluginInfo, Any, list[tuple[Kind, Any]]]] = []
    others: list[PluginInfo] = []
    probation = new_manager()
    for candidate in [core, *given, *sorted(found, key=lambda c: c.distribution)]:
        if reason := blocked.get(candidate.distribution):
            others.append(_info(candidate, state="blocked", error=reason))
            continue
        try:
            plugin, registered = _let_in(candidate, probation)
        except _IncompatibleError as exc:
            others.append(_info(candidate, state="incompatible", error=str(exc), exception=exc))
        except (Exception, SystemExit) as exc:  # noqa: BLE001  (whatever a plugin does wrong is its own loss)
            others.append(_info(candidate, state="broken", error=_one_line(exc), exception=exc))
        else:
            loaded.append((_info(candidate, state="loaded", provides=_provides(registered)), plugin, registered))
    registry = Plugins(loaded, others)
    _report(registry)
    return registry


def normalize(distribution: str) -> str:
    """A distribution's name as PyPI compares it: ``Wmtp_Eval.MBPP`` is ``wmtp-eval-mbpp``."""
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


def _info(candidate: _Candidate, **fields: Any) -> PluginInfo:
    return PluginInfo(distribution=candidate.distribution, version=candidate.version, **fields)


def _core_version() -> str:
    from wmtp import __version__

    return __version__


def _installed() -> Iterable[_Candidate]:
    by_distribution: dict[str, _Candidate] = {}
    for point in metadata.entry_points(group=GROUP):
        dist = point.dist
        if dist is None:  # only entry points made by hand have none
            continue
        about = dist.metadata  # parsed once: `name`, `version` and `requires` of `dist` each parse it again
        name = normalize(about["Name"])
        before = by_distribution.get(name)
        points = (*(before.points if before else ()), point)
        requires = tuple(about.get_all("Requires-Dist") or dist.requires or ())  # an egg has them elsewhere
        by_distribution[name] = _Candidate(name, about["Version"], points=points, requires=requires)
    return by_distribution.values()


def _given(plugin: Any, installed: Mapping[str, _Candidate]) -> _Candidate:
    name = plugin.__name__ if isinstance(plugin, ModuleType) else getattr(plugin, "name", type(plugin).__name__)
    for candidate in installed.values():
        if isinstance(plugin, ModuleType) and name in {p.value for p in candidate.points}:
            return attrs.evolve(candidate, plugin=plugin)
    return _Candidate(normalize(str(name)), str(getattr(plugin, "__version__", "")), plugin=plugin)


def _blocked(
    given: list[_Candidate], found: list[_Candidate], allow: Iterable[str] | None, block: list[str]
) -> dict[str, str]:
    """Distribution → why it is blocked. Unknown names are errors: a misspelt block would load what it should not."""
    available = {c.distribution for c in [*given, *found]}
    reasons: dict[str, str] = {}
    source = "the list of plugins allowed"
    if allow is None and (listed := os.environ.get("WMTP_PLUGINS")) is not None:
        allow, source = [part for part in listed.split(",") if part.strip()], "WMTP_PLUGINS"
    if allow is not None:
        allowed = {normalize(name) for name in allow} - {CORE}
        if found or not given:
            _check_names(allowed, available, source)
        reasons = {c.distribution: f"not in {source}" for c in found if c.distribution not in allowed}
    if CORE in block:
        raise PluginError(f"--no-plugin {CORE}: core cannot be left out")
    _check_names(set(block), available, "--no-plugin")
    return reasons | dict.fromkeys(block, "--no-plugin")


def _check_names(names: set[str], available: set[str], source: str) -> None:
    if unknown := sorted(names - available):
        raise PluginError(
            f"{source} names {', '.join(unknown)}, which is not an installed plugin; "
            f"installed: {', '.join(sorted(available)) or 'none'}"
        )


class _IncompatibleError(Exception):
    """The plugin's own metadata rules this core out."""


def _let_in(candidate: _Candidate, probation: PluginManager) -> tuple[Any, list[tuple[Kind, Any]]]:
    _check_requirement(candidate)
    plugin = candidate.plugin
    if plugin is None:
        if len(candidate.points) > 1:
            raise PluginFault(f"announces {len(candidate.points)} entry points in group {GROUP!r}; one is the rule")
        plugin = candidate.points[0].load()
    return plugin, check_plugin(plugin, probation)


def _check_requirement(candidate: _Candidate) -> None:
    """Compares the plugin's requirement on core with this core, before any of its code runs."""
    asked = [text for text in candidate.requires if not _plainly_met(text)]
    if not asked:
        return
    from packaging.requirements import InvalidRequirement, Requirement

    for text in asked:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # pip has judged it; only a readable requirement on core concerns us
        if normalize(requirement.name) != CORE or (requirement.marker and not requirement.marker.evaluate()):
            continue
        if not requirement.specifier.contains(_core_version(), prereleases=True):
            raise _IncompatibleError(
                f"needs {CORE}{requirement.specifier}, this is {_core_version()}; "
                f'pip install --upgrade "{CORE}{requirement.specifier}" {candidate.distribution}'
            )


def _plainly_met(text: str) -> bool:
    """Whether a requirement is of another distribution, or holds as far as bounds of plain numbers say: to read it takes a
    library that costs a command twenty milliseconds."""
    if normalize(_NAME_ENDS.split(text.strip(), maxsplit=1)[0]) != CORE:
        return True
    bounds, version = _BOUNDS.fullmatch(text), _core_version()
    if bounds is None or not _NUMBERS.fullmatch(version):
        return False
    return all((_padded(version) >= _padded(number)) is (sign == ">=") for sign, number in _BOUND.findall(bounds[1]))


def _padded(version: str) -> list[int]:
    numbers = [int(number) for number in version.split(".")]
    return numbers + [0] * (8 - len(numbers))


def _provides(registered: Iterable[tuple[Kind, Any]]) -> dict[str, tuple[str, ...]]:
    provides: dict[str, tuple[str, ...]] = {}
    for kind, spec in registered:
        provides[kind.name] = (*provides.get(kind.name, ()), kind.name_of(spec))
        for claim in kind.claims:
            if names := getattr(spec, claim.field):
                provides[claim.kind] = (*provides.get(claim.kind, ()), *names)
    return provides


def _one_line(exc: BaseException) -> str:
    """The exception with the last line of its author's in the traceback, as one line."""
    text = " ".join(str(exc).split())
    if isinstance(exc, PluginFault):
        return text
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if not _is_machinery(f.filename)]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(exc).__name__}{': ' if text else ''}{text}{where}"


def _is_machinery(filename: str) -> bool:
    """Imports, and what makes and validates records: a fault is shown where its author wrote it."""
    return "importlib" in filename or filename.startswith(("<attrs generated", _CONTRACTS))


def _report(plugins: Plugins) -> None:
    faults = [f"plugin {i.owner} is {i.state}: {i.error}" for i in plugins.listing() if i.exception is not None]
    faults += plugins.conflicts()
    if faults and os.environ.get("WMTP_STRICT_PLUGINS", "") not in ("", "0"):
        cause = next((i.exception for i in plugins.listing() if i.exception is not None), None)
        raise PluginError("\n".join([*faults, "(WMTP_STRICT_PLUGINS is set, so this is an error)"])) from cause
    for fault in faults:
        log.warning("%s", fault)
    for info in plugins.listing():
        if info.exception is not None:
            log.debug("traceback of %s", info.distribution, exc_info=info.exception)
