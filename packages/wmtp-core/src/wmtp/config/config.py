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
    """``storage``: where models and data come from that are not on this machine.

    Attributes:
        mode: The storage in use; its own keys are in the section of its name.
        settings: The selected mode's section, structured by the plugin that owns it, or ``None`` if it takes none.
        by_mode: The same for every installed mode whose section is valid: what opens a ``scheme://`` reference.
        sections: Every section as written, those of modes that are neither selected nor installed too.
    """

    mode: str = "local"
    settings: Any = None
    sections: Mapping[str, Any] = attrs.field(factory=dict)
    by_mode: Mapping[str, Any] = attrs.field(factory=dict, eq=False)


@attrs.frozen(kw_only=True)
class ModelPath:
    """A local copy of one named model. A bare path in the file stands for the default model, default variant too.

    Attributes:
        path: The folder.
        id: The model that it is a copy of, as ``model.base_id`` names it.
        variant: Which variant of a checkpoint of Meta's it is.
    """

    path: str
    id: str
    variant: str | None = None


@attrs.frozen(kw_only=True)
class ModelPaths:
    """``paths.models``: local copies of the base, reward and reference model.

    Attributes:
        base_local: Of the model that is evaluated or trained.
        rm_local: Of the reward model.
        ref_local: Of the reference model.
    """

    base_local: ModelPath | None = None
    rm_local: ModelPath | None = None
    ref_local: ModelPath | None = None


@attrs.frozen(kw_only=True)
class PathsConfig:
    """``paths``: what is on this machine, and where downloads are kept.

    Attributes:
        models: Local copies of models.
        datasets: Local copies of data sets: a data set's name with ``_local`` behind it, and a file or folder.
        cache: Folder of what was downloaded.
        cache_size: How large `cache` may grow (``200G``); what was not used for longest goes first. ``null``: no limit.
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
    """``devices``: what models run on.

    Attributes:
        device: ``auto`` (the first graphics processor, else the CPU), a name of torch's (``cuda:0``), or ``balanced``, which
            spreads a model over all graphics processors in sight (transformers' ``device_map``).
        dtype: Of weights; ``auto`` is as they are stored.
        threads: For a model on the CPU; ``auto`` weighs one against torch's own number when a run begins, and keeps what it
            chose.
        replicas: Engines side by side, each in a process of its own; ``auto`` is one for each graphics processor in sight.
    """

    device: str = attrs.field(default="auto", validator=device)
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    threads: int | Literal["auto"] = attrs.field(default="auto", validator=[at_least(1), at_most(1024)])
    replicas: int | Literal["auto"] = attrs.field(default=1, validator=[at_least(1), at_most(1024)])


@attrs.frozen(kw_only=True)
class JudgingConfig:
    """``judging``: the sandbox that programs are judged in (docs/judging.md).

    Attributes:
        level: ``strict`` has every wall and refuses to start where one does not hold, ``process`` has no namespaces, ``auto``
            is strict where that holds.
        workers: Programs side by side on one machine; ``auto`` is one a core.
        time_limit: CPU seconds a program.
        memory_mib: MiB a program.
        packages: Installed distributions that programs may import beside the standard library.
        where: Who runs them: ``local`` for this machine, ``ray`` for the nodes of a cluster, with options beside a ``name``
            (docs/scale.md).
    """

    level: Literal["strict", "process", "auto"] = "strict"
    workers: int | Literal["auto"] = attrs.field(default="auto", validator=[at_least(1), at_most(4096)])
    time_limit: float = attrs.field(default=10.0, validator=at_least(0, above=True))
    memory_mib: int = attrs.field(default=1024, validator=at_least(16))
    packages: tuple[str, ...] = ()
    where: Annotated[Choice, OfKind("judge")] = attrs.field(factory=lambda: Choice(name="local"))


@attrs.frozen(kw_only=True)
class Config:
    """All of config.yaml. Relative paths have been made absolute against the file's folder (or the cwd without one).

    Attributes:
        project: What the runs belong to; trackers are told it.
        seed: Of samples, data order and dropout, where the recipe has none of its own.
        storage: Where models and data come from that are not on this machine.
        paths: What is on this machine, and where downloads are kept.
        devices: What models run on.
        judging: The sandbox that programs are judged in.
        tracking: Trackers that hear of a run: a tracker's name, and its settings.
        sections: Those that plugins own, by name, each an instance of its plugin's class; ``tracking`` is there as well.
    """

    project: str = "wmtp"
    seed: int = attrs.field(default=42, validator=at_least(0, high=2**63 - 1))
    storage: StorageConfig = StorageConfig()
    paths: PathsConfig = PathsConfig()
    devices: DevicesConfig = DevicesConfig()
    judging: JudgingConfig = JudgingConfig()
    sections: Mapping[str, Any] = attrs.field(factory=dict)
