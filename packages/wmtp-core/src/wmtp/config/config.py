"""config.yaml: where things are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs

from wmtp.config.checks import device, size
from wmtp.config.sizes import parse_size
from wmtp.contracts.specs import Choice, OfKind
from wmtp.contracts.validators import at_least
from wmtp.contracts.values import at_most


@attrs.frozen(kw_only=True)
class StorageConfig:
    """``storage``.

    settings   the selected mode's section, structured by the plugin that owns it, or ``None`` if it takes none.
    by_mode    the same for every installed mode whose section is valid: what opens a ``scheme://`` reference.
    sections   every section as written, those of modes that are neither selected nor installed too.
    """

    mode: str = "local"
    settings: Any = None
    sections: Mapping[str, Any] = attrs.field(factory=dict)
    by_mode: Mapping[str, Any] = attrs.field(factory=dict, eq=False)


@attrs.frozen(kw_only=True)
class ModelPath:
    """A local copy of one named model. A bare path in the file stands for the default model, default variant too."""

    path: str
    id: str
    variant: str | None = None


@attrs.frozen(kw_only=True)
class ModelPaths:
    """``paths.models``: local copies of the base, reward and reference model."""

    base_local: ModelPath | None = None
    rm_local: ModelPath | None = None
    ref_local: ModelPath | None = None


@attrs.frozen(kw_only=True)
class PathsConfig:
    """``paths``. `datasets` maps a data set's name (the key less its ``_local``) to a file or folder.

    cache_size   how large `cache` may grow (``200G``); what was not used for longest goes first. ``None``: no limit.
    """

    models: ModelPaths = ModelPaths()
    datasets: Mapping[str, str] = attrs.field(factory=dict)
    cache: str = ".cache"
    cache_size: str | None = attrs.field(default=None, validator=size)

    @property
    def cache_bytes(self) -> int | None:
        return None if self.cache_size is None else parse_size(self.cache_size)


@attrs.frozen(kw_only=True)
class DevicesConfig:
    """``devices``: ``auto``, or torch's own names (``cuda:0``, ``bfloat16``); the device ``balanced`` spreads a model over all
    graphics processors in sight (transformers' ``device_map``). `threads` is for models on the CPU; ``auto``
    weighs one against torch's own number when a run begins, and keeps what it chose. `replicas` are engines
    side by side, each in a process of its own; ``auto`` is one for each graphics processor in sight."""

    device: str = attrs.field(default="auto", validator=device)
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    threads: int | Literal["auto"] = attrs.field(default="auto", validator=[at_least(1), at_most(1024)])
    replicas: int | Literal["auto"] = attrs.field(default=1, validator=[at_least(1), at_most(1024)])


@attrs.frozen(kw_only=True)
class JudgingConfig:
    """``judging``. time_limit: CPU seconds a program; memory_mib: a program; workers: on one machine, ``auto`` is one a core;
    packages: installed distributions that programs may import beside the standard library (docs/judging.md); where: who runs
    them, ``local`` for this machine, ``ray`` for the nodes of a cluster, with options beside a ``name`` (docs/scale.md)."""

    level: Literal["strict", "process", "auto"] = "strict"
    workers: int | Literal["auto"] = attrs.field(default="auto", validator=[at_least(1), at_most(4096)])
    time_limit: float = attrs.field(default=10.0, validator=at_least(0, above=True))
    memory_mib: int = attrs.field(default=1024, validator=at_least(16))
    packages: tuple[str, ...] = ()
    where: Annotated[Choice, OfKind("judge")] = attrs.field(factory=lambda: Choice(name="local"))


@attrs.frozen(kw_only=True)
class Config:
    """All of config.yaml. Relative paths have been made absolute against the file's folder (or the cwd without one).

    `sections` holds those that plugins own, by name, each an instance of its plugin's class; ``tracking`` is there as well:
    tracker → its settings.
    """

    project: str = "wmtp"
    seed: int = attrs.field(default=42, validator=at_least(0, high=2**63 - 1))
    storage: StorageConfig = StorageConfig()
    paths: PathsConfig = PathsConfig()
    devices: DevicesConfig = DevicesConfig()
    judging: JudgingConfig = JudgingConfig()
    sections: Mapping[str, Any] = attrs.field(factory=dict)
