"""What the configuration asks of the plugins. `wmtp.plugins.Plugins` fulfils it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import attrs

from wmtp.contracts.specs import EvaluatorSpec

S = TypeVar("S")


@attrs.frozen
class Registered(Generic[S]):
    """A record that a plugin registered, and whose it is. `plugin` is the object that pluggy knows."""

    spec: S
    distribution: str
    version: str
    plugin: Any = attrs.field(eq=False, repr=False)

    @property
    def owner(self) -> str:
        """``wmtp-s3 0.1.0``, as messages name it."""
        return f"{self.distribution} {self.version}".strip()


@attrs.frozen
class MetricOwner:
    """Who answers for a metric.

    Attributes:
        evaluator: the evaluator's record and its plugin.
        base_name: the name without the prefix of ``eval.metric_prefix``: what the plugin itself calls the metric.
        k: the k of ``…@{k}``, or ``None`` for a metric without one.
    """

    evaluator: Registered[EvaluatorSpec]
    base_name: str
    k: int | None = None


class SettingsKind(Protocol):
    """A kind whose records have settings, and where users write those of one: ``recipe.eval.evaluators``."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> str: ...


class Catalog(Protocol):
    """The names that plugins in use provide. A kind is what users call it: ``loader``, ``data set``, ``section``."""

    def kinds(self) -> Iterable[SettingsKind]: ...

    def registry(self, kind: str) -> Mapping[str, Registered[Any]]:
        """Name → record. Looking up a name that two plugins claim raises `wmtp.PluginError`."""
        ...

    def distributions(self) -> tuple[str, ...]:
        """Those whose plugins are in use."""
        ...

    def missing(self, kind: str, name: str, installed: Iterable[str]) -> str:
        """What to say of a name that nothing provides."""
        ...

    def provider(self, kind: str, name: str) -> str:
        """Which distribution would provide a name, as the end of a sentence; empty where nobody knows."""
        ...

    def protocol(self, name: str) -> Registered[EvaluatorSpec]:
        """The evaluator that serves a protocol. Raises `wmtp.WmtpError`."""
        ...

    def metric(self, name: str, prefixes: Mapping[str, str]) -> MetricOwner:
        """Who answers for a metric. Raises `wmtp.WmtpError`."""
        ...
