"""Who registered what: records with their owner, and mappings that refuse to choose between two owners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeVar

import attrs

from wmtp.contracts.catalog import Registered
from wmtp.errors import PluginError

State = Literal["loaded", "blocked", "incompatible", "broken"]
S = TypeVar("S")


@attrs.frozen(kw_only=True)
class PluginInfo:
    """One line of ``wmtp plugins list``.

    Attributes:
        state: Loaded; blocked (WMTP_PLUGINS, ``--no-plugin``); incompatible (needs another core); broken.
        error: Why it is not in use, on one line.
        exception: What it raised, for a traceback under ``--debug``.
        provides: Kind of thing → the names it registered: ``{"evaluator": ("mbpp-v1",), "metric": ("mbpp_exact", …)}``.
    """

    distribution: str
    version: str
    state: State
    error: str = ""
    provides: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    exception: BaseException | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def owner(self) -> str:
        return f"{self.distribution} {self.version}".strip()


class Registry(Mapping[str, Registered[S]]):
    """Name → `Registered`, for one kind of thing. A name that two plugins claim is in `conflicts` and not in the mapping.

    Asking for such a name raises a `PluginError` that names both, so no plugin ever shadows another.
    """

    def __init__(self, kind: str, entries: Iterable[tuple[str, Registered[S]]] = ()) -> None:
        self.kind = kind
        claims: dict[str, list[Registered[S]]] = {}
        for name, owned in entries:
            claims.setdefault(name, []).append(owned)
        self._sole = {name: owners[0] for name, owners in sorted(claims.items()) if len(owners) == 1}
        self.conflicts: Mapping[str, tuple[Registered[S], ...]] = {
            name: tuple(owners) for name, owners in sorted(claims.items()) if len(owners) > 1
        }

    def __getitem__(self, name: str) -> Registered[S]:
        if name in self.conflicts:
            raise PluginError(self.conflict(name))
        return self._sole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sole)

    def __len__(self) -> int:
        return len(self._sole)

    def conflict(self, name: str) -> str:
        """What to tell the user about a name that two plugins claim."""
        owners = self.conflicts[name]
        last = next(o.distribution for o in reversed(owners) if o.distribution != "wmtp-core")
        return (
            f"{self.kind} {name!r} is claimed by {' and by '.join(o.owner for o in owners)}; "
            f"leave one of them out, with --no-plugin {last} for instance"
        )
