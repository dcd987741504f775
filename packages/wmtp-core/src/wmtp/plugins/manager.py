"""What `create_plugin_manager` returns: the registries, metric lookup, and the two ways of calling plugins."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from wmtp.contracts.specs import DatasetSpec, EvaluatorSpec, LoaderSpec, ScorerSpec, StorageSpec
from wmtp.errors import ConfigError, PluginError
from wmtp.plugins.checks import Spec, new_manager, spec_name
from wmtp.plugins.known import known_provider
from wmtp.plugins.metrics import MetricOwner, metric_names, metric_owners, near_metrics
from wmtp.plugins.registry import Owned, PluginInfo, Registry

if TYPE_CHECKING:
    from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask

log = logging.getLogger("wmtp.plugins")


class Plugins:
    """The plugins in use.

    storages, loaders, datasets, evaluators, scorers   name → `Owned`; schemes: URL scheme → its storage.
    manager   pluggy's own manager, with every loaded plugin registered under its distribution's name.
    """

    def __init__(self, loaded: Iterable[tuple[PluginInfo, Any, Iterable[Spec]]], others: Iterable[PluginInfo]) -> None:
        self.manager: pluggy.PluginManager = new_manager()
        self._infos: list[PluginInfo] = list(others)
        self._plugins: dict[str, Any] = {}
        self._observers: dict[str, list[tuple[str, Any]]] = {}
        self._dropped: set[str] = set()
        owned: list[Owned[Any]] = []
        for info, plugin, specs in loaded:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # said once already, when it was checked
                self.manager.register(plugin, name=info.distribution)
            self._infos.append(info)
            self._plugins[info.distribution] = plugin
            owned += [Owned(spec, info.distribution, info.version, plugin) for spec in specs]

        def by_name(kind: str, record: type[Any]) -> Registry[Any]:
            return Registry(kind, ((spec_name(o.spec), o) for o in owned if isinstance(o.spec, record)))

        self.storages: Registry[StorageSpec] = by_name("storage mode", StorageSpec)
        self.loaders: Registry[LoaderSpec] = by_name("loader", LoaderSpec)
        self.datasets: Registry[DatasetSpec] = by_name("data set", DatasetSpec)
        self.evaluators: Registry[EvaluatorSpec] = by_name("evaluator", EvaluatorSpec)
        self.scorers: Registry[ScorerSpec] = by_name("scorer", ScorerSpec)
        self.schemes: Registry[StorageSpec] = Registry(
            "URL scheme", ((s, o) for o in owned if isinstance(o.spec, StorageSpec) for s in o.spec.schemes)
        )

    # what there is

    def listing(self) -> tuple[PluginInfo, ...]:
        """Every plugin found, in use or not: core first, then by distribution."""
        return tuple(sorted(self._infos, key=lambda i: (i.distribution != "wmtp-core", i.distribution)))

    def conflicts(self) -> tuple[str, ...]:
        """One sentence for each name that two plugins claim. Metrics are not among them: a prefix keeps both."""
        registries = (self.storages, self.schemes, self.loaders, self.datasets, self.evaluators, self.scorers)
        return tuple(r.conflict(name) for r in registries for name in r.conflicts)

    def protocol(self, name: str) -> Owned[EvaluatorSpec]:
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

    def evaluate(self, task: EvaluationTask, owner: Owned[EvaluatorSpec]) -> EvaluationResult:
        """``wmtp_evaluate`` on the plugin that owns the evaluator, and on no other.

        What the plugin raises goes through; an answer that is not the result asked for raises `PluginError`.
        """
        result = self._only("wmtp_evaluate", owner.distribution)(task=task)
        metrics = getattr(result, "metrics", None)
        if result is None or not isinstance(metrics, Mapping):
            shown = "None" if result is None else f"a {type(result).__name__}"
            raise PluginError(
                f"wmtp_evaluate of {owner.owner} returned {shown} for {task.evaluator!r}, not a wmtp.EvaluationResult"
            )
        if foreign := sorted(map(str, set(metrics) - set(task.metrics))):
            raise PluginError(f"{owner.owner} returned metrics it was not asked for: {', '.join(foreign)}")
        if lacking := sorted(set(task.metrics) - set(metrics)):
            raise PluginError(f"{owner.owner} did not return the metrics it was asked for: {', '.join(lacking)}")
        return result  # type: ignore[no-any-return]

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
