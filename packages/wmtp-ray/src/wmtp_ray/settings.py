"""The options under ``model.loaders.ray`` in the recipe, and beside ``judging.where: {name: ray}`` in config.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import validators

LEAST = 0.0001
"""The smallest part of a resource that Ray hands out."""
NAMED_ELSEWHERE = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "", "object_store_memory": ""}


def _quantity(name: str, value: float) -> None:
    if value < 0 or 0 < value < LEAST:
        raise ValueError(f"must be 0 or at least {LEAST} of {name}, not {value:g}")


def _gpus(_: Any, __: Any, value: float) -> None:
    _quantity("a GPU", value)
    if value > 1 and value != int(value):
        raise ValueError(f"must be a part of one GPU, or whole ones, not {value:g}")


def _resources(_: Any, __: Any, value: Mapping[str, float]) -> None:
    for name, quantity in value.items():
        if (other := NAMED_ELSEWHERE.get(name)) is not None:
            raise ValueError(
                f"must not hold {name!r}" + (f": {other} says it" if other else ", which Ray counts itself")
            )
        _quantity(name, quantity)


@attrs.frozen(kw_only=True)
class RaySettings:
    """``model.loaders.ray``.

    Attributes:
        inner: The loader that opens the model on each worker (``transformers``); by default the one that matches it.
        inner_settings: That loader's own options, which it otherwise has under ``model.loaders.<name>``.
        workers: Engines, at most; those for which the cluster has no room yet join when it has.
        num_cpus: Processors of each worker, and threads of its engine.
        num_gpus: Graphics processors of each worker.
        resources: Further resources of each worker, as the cluster names them (``{big: 1}``).
        address: Of the cluster: ``auto`` for the one that runs here, ``local`` to start one for this command,
            ``ray://host:10001`` for a distant one.
        window: Requests that a worker holds at most.
        patience_s: Seconds without any worker after which the run ends; the same command goes on.
    """

    inner: str | None = None
    inner_settings: Mapping[str, Any] = attrs.field(factory=dict)
    workers: int = attrs.field(default=1, validator=validators.ge(1))
    num_cpus: float = attrs.field(default=1.0, validator=validators.ge(LEAST))
    num_gpus: float = attrs.field(default=0, validator=_gpus)
    resources: Mapping[str, float] = attrs.field(factory=dict, validator=_resources)
    address: str = "auto"
    window: int = attrs.field(default=128, validator=validators.ge(1))
    patience_s: float = attrs.field(default=600.0, validator=validators.ge(0))


@attrs.frozen(kw_only=True)
class RayJudgeSettings:
    """``judging.where: {name: ray, …}``.

    Attributes:
        address: Of the cluster, as for ``model.loaders.ray``.
        resources: What a node must have to judge, as the cluster names it (``{sandbox: 1}``); by default every node with
            processors judges.
        patience_s: Seconds without any node after which the run ends; the same command goes on.
    """

    address: str = "auto"
    resources: Mapping[str, float] = attrs.field(factory=dict)
    patience_s: float = attrs.field(default=600.0, validator=validators.ge(0))
