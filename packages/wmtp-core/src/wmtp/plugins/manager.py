"""What `create_plugin_manager` returns: the registries, metric lookup, and the two ways of calling plugins."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from wmtp.contracts.catalog import MetricOwner, Registered
from wmtp.contracts.specs import (
    ArchitectureSpec,
    CommandSpec,
    ControlSpec,
    DatasetSpec,
    EvaluatorSpec,
    JudgeSpec,
    LoaderSpec,
    ReporterSpec,
    ScorerSpec,
    SectionSpec,
    StorageSpec,
    TrackerSpec,
    TrainerSpec,
)
from wmtp.errors import ConfigError, PluginError
from wmtp.plugins import kinds
from wmtp.plugins.checks import new_manager
from wmtp.plugins.kinds import Kind
from wmtp.plugins.known import known_provider
from wmtp.plugins.metrics import metric_names, metric_owners, near_metrics
from wmtp.plugins.registry import PluginInfo, Registry

if TYPE_CHECKING:
    from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask

log = logging.getLogger("wmtp.plugins")
OBSERVERS = ("wmtp_run_started", "wmtp_sample_judged", "wmtp_run_finished")


class Plugins:
    """The plugins in use.

    There is a `Registry` (name → `Registered`) for each kind of the table in `wmtp.plugins.kinds`, made from that table: by
    `registry`, or as an attribute named like the kind's hook. `schemes` maps URL schemes to the storages that open them.

    Attributes:
        manager: pluggy's own manager, with every loaded plugin registered under its distribution's name.
    """

    storages: Registry[StorageSpec]
    schemes: Registry[StorageSpec]
    loaders: Registry[LoaderSpec]
    datasets: Registry[DatasetSpec]
    evaluators: Registry[EvaluatorSpec]
    judges: Registry[JudgeSpec]
    scorers: Registry[ScorerSpec]
    controls: Registry[ControlSpec]
    trainers: Registry[TrainerSpec]
    architectures: Registry[ArchitectureSpec]
    trackers: Registry[TrackerSpec]
    reporters: Registry[ReporterSpec]
    sections: Registry[SectionSpec]
    commands: Registry[CommandSpec]

    def __init__(
        self,
        loaded: Iterable[tuple[PluginInfo, Any, Iterable[tuple[Kind, Any]]]],
        others: Iterable[PluginInfo],
    ) -> None:
        self.manager: pluggy.PluginManager = new_manager()
        self._infos: list[PluginInfo] = list(others)
        self._plugins: dict[str, Any] = {}
        self._observers: dict[str, list[tuple[str, Any]]] = {}
        self._dropped: set[str] = set()
        registered: list[tuple[Kind, Registered[Any]]] = []
        for info, plugin, specs in loaded:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # said once already, when it was checked
                self.manager.register(plugin, name=info.distribution)
            self._infos.append(info)
            self._plugins[info.distribution] = plugin
            registered += [(k, Registered(spec, info.distribution, info.version, plugin)) for k, spec in specs]
        self._registries: dict[str, Registry[Any]] = {}
        for kind in kinds.KINDS:
            of_kind = [r for k, r in registered if k is kind]
            self._add(kind.registry, Registry(kind.name, ((kind.name_of(r.spec), r) for r in of_kind)))
            for claim in kind.claims:
                if claim.registry:
                    names = ((name, r) for r in of_kind for name in getattr(r.spec, claim.field))
                    self._add(claim.registry, Registry(claim.kind, names))

    def _add(self, attribute: str, registry: Registry[Any]) -> None:
        self._registries[registry.kind] = registry
        setattr(self, attribute, registry)

    def kinds(self) -> Iterable[Kind]:
        """The table of kinds."""
        return kinds.KINDS

    def registry(self, kind: str) -> Registry[Any]:
        """Name → record, for what users call `kind`: ``loader``, ``data set``, ``URL scheme``. Raises KeyError."""
        return self._registries[kind]

    # what there is

    def listing(self) -> tuple[PluginInfo, ...]:
        """Every plugin found, in use or not: core first, then by distribution."""
        return tuple(sorted(self._infos, key=lambda i: (i.distribution != "wmtp-core", i.distribution)))

    def distributions(self) -> tuple[str, ...]:
        """Those whose plugins are in use."""
        return tuple(self._plugins)

    def conflicts(self) -> tuple[str, ...]:
        """One sentence for each name that two plugins claim. Metrics are not among them: a prefix keeps both."""
        return tuple(r.conflict(name) for r in self._registries.values() for name in r.conflicts)

    def protocol(self, name: str) -> Registered[EvaluatorSpec]:
        """The evaluator that serves a protocol (``meta-mtp``). Raises `ConfigError`, or `PluginError` on a conflict."""
        served: Registry[EvaluatorSpec] = Registry(
            "protocol", ((o.spec.protocol, o) for o in self.evaluators.values() if o.spec.protocol)
        )
        if name not in served:
            raise ConfigError(self.missing("protocol", name, served))
        return served[name]

    def missing(self, kind: str, name: str, installed: Iterable[str]) -> str:
        """What to say when nothing provides a name: what is there, what is near, which distribution would have it."""
        names = sorted(installed)
        near = difflib.get_close_matches(name, names, n=1)
        text = f"unknown {kind} {name!r}; " + (f"did you mean {near[0]!r}? " if near else "")
        return f"{text}installed: {', '.join(names) or 'none'}{self._provider(kind, name)}"

    def provider(self, kind: str, name: str) -> str:
        """Which distribution would provide a name, as the end of a sentence; empty where nobody knows."""
        return self._provider(kind, name) if known_provider(kind, name) else ""

    def _provider(self, kind: str, name: str) -> str:
        provider = known_provider(kind, name)
        unused = {i.distribution: i for i in self._infos if i.state != "loaded"}
        if provider is None:
            suspects = [f"{i.owner} ({i.error})" for i in unused.values()]
            return f". Not in use, and may provide it: {'; '.join(suspects)}" if suspects else ""
        if info := unused.get(provider):
            advice = f"; pip install --upgrade --force-reinstall {provider}" if info.state == "broken" else ""
            return f". {info.owner} provides it, but is {info.state}: {info.error}{advice}"
        return f". {provider} provides it: pip install {provider}"

    # metrics

    def metric(self, name: str, prefixes: Mapping[str, str] = {}) -> MetricOwner:
        """Who answers for a metric. prefixes: ``eval.metric_prefix``, distribution → prefix.

        Raises `ConfigError`: unknown (with near names and the distribution that would provide it), or answered for by
        two plugins (with the prefix that keeps both).
        """
        claimed = [o for owners in self.evaluators.conflicts.values() for o in owners]
        evaluators = [*self.evaluators.values(), *claimed]
        owners = metric_owners(evaluators, name, prefixes)
        if len(owners) == 1:
            _ = self.evaluators[owners[0].evaluator.spec.id]  # two plugins with one id: no prefix helps there
            return owners[0]
        if owners:
            other = owners[-1].evaluator.distribution
            raise ConfigError(
                f"metric {name!r} is answered for by {' and by '.join(o.evaluator.owner for o in owners)}; keep both "
                f"with eval.metric_prefix: {{{other}: {_initial(other)}_}}, which makes the latter's "
                f"{_initial(other)}_{name}"
            )
        base = name.rpartition("@")[0]
        if base and metric_owners(evaluators, f"{base}@1", prefixes):
            raise ConfigError(f"unknown metric {name!r}: k must be at least 1, written in digits, like {base}@10")
        names = sorted(set(metric_names(evaluators, prefixes)))
        near = near_metrics(name, names)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        listed = "`wmtp metrics` lists all" if names else "no installed plugin answers for a metric"
        raise ConfigError(f"unknown metric {name!r}; {hint}{listed}{self._provider('metric', name)}")

    def largest_k(self, metrics: Iterable[str], prefixes: Mapping[str, str] = {}) -> int:
        """Samples a problem that these metrics need: the largest k, at least 1."""
        return max((self.metric(name, prefixes).k or 1 for name in metrics), default=1)

    # calling plugins

    def _only(self, hook: str, distribution: str) -> pluggy.HookCaller:
        others = [p for name, p in self._plugins.items() if name != distribution]
        return self.manager.subset_hook_caller(hook, others)

    def evaluate(self, task: EvaluationTask, owner: Registered[EvaluatorSpec]) -> EvaluationResult:
        """``wmtp_evaluate`` on the plugin that owns the evaluator, and on no other; where it does not answer, the factory
        `EvaluatorSpec.evaluate`.

        What the plugin raises goes through; an answer that is not the result asked for raises `PluginError`.
        """
        from wmtp.contracts.evaluation import EvaluationResult  # here: listing plugins does without

        result = self._only("wmtp_evaluate", owner.distribution)(task=task)
        asked = "wmtp_evaluate"
        if result is None and owner.spec.evaluate is not None:
            result, asked = owner.spec.evaluate(task), "EvaluatorSpec.evaluate"
        if not isinstance(result, EvaluationResult):
            shown = "None" if result is None else f"a {type(result).__name__}"
            raise PluginError(
                f"{asked} of {owner.owner} returned {shown} for {task.evaluator!r}, not a wmtp.EvaluationResult"
            )
        if result.evaluator != task.evaluator:
            raise PluginError(
                f"{owner.owner} was asked for {task.evaluator!r} and returned what {result.evaluator!r} found"
            )
        if foreign := sorted({*result.metrics, *result.values} - set(task.metrics)):
            raise PluginError(f"{owner.owner} returned metrics it was not asked for: {', '.join(foreign)}")
        if lacking := sorted(set(task.metrics) - set(result.metrics)):
            raise PluginError(f"{owner.owner} did not return the metrics it was asked for: {', '.join(lacking)}")
        return result

    @property
    def observed(self) -> bool:
        """Whether any plugin has an observer hook."""
        return any(getattr(self.manager.hook, hook).get_hookimpls() for hook in OBSERVERS)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Calls an observer hook on each plugin that has it. One that raises is reported once and then left out."""
        if hook not in self._observers:
            callers = {i.plugin_name for i in getattr(self.manager.hook, hook).get_hookimpls()}
            self._observers[hook] = [(name, self._only(hook, name)) for name in self._plugins if name in callers]
        for distribution, call in self._observers[hook]:
            if distribution in self._dropped:
                continue
            try:
                call(**arguments)
            except Exception as exc:
                self._dropped.add(distribution)
                log.warning("observer %s of %s failed and is left out: %r", hook, distribution, exc)
                log.debug("its traceback", exc_info=exc)


def _initial(distribution: str) -> str:
    return distribution.rpartition("-")[2]
