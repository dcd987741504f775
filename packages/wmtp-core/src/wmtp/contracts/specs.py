"""The records that plugins register: frozen, cheap to build, and free of heavy imports.

Discovery is apart from behaviour: a spec names a factory, and only the factory imports torch, boto3 or pyarrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from wmtp.contracts.engines import Engine
from wmtp.contracts.storage import Storage

CORE_API = 1
"""Version of the plugin contract. It rises when a hook or record changes incompatibly."""


@attrs.frozen
class Resource:
    """A model or data set that has been found and is on this machine now.

    path     file or folder to read.
    source   where it came from: ``local``, ``cache``, ``storage:s3``, ``hub`` …, for provenance.
    version  what pins it: a commit, a manifest digest; ``""`` for a local path, which nothing pins.
    """

    path: Path
    source: str
    version: str = ""


@attrs.frozen
class Check:
    """One line of ``wmtp doctor``: ``ok`` is true, false, or ``None`` where it does not apply here."""

    name: str
    ok: bool | None
    detail: str = ""


class Fetch(Protocol):
    """Resolves the resource of a request: local copy → cache → storage → hub.

    patterns: glob patterns of the files that are needed (``None``: all of them). Each call returns a resource that
    holds at least the files that match. Raises `wmtp.ResourceError` naming every place tried.
    """

    def __call__(self, patterns: tuple[str, ...] | None = None) -> Resource: ...


@attrs.frozen(kw_only=True)
class DatasetRequest:
    """What a `DatasetSpec.load` receives.

    split   the split asked for (``"test"``), in the data set's own words.
    fetch   brings the data set to this machine; `Resource.path` is a file or a folder (SPEC "Data sets on disk").
    limit   the caller will read no more than this many rows (``None``: all); a loader may stop early.
    """

    dataset: str
    split: str
    fetch: Fetch
    limit: int | None = None


@attrs.frozen
class DatasetSpec:
    """A data set by name. `load` yields the rows of one split in the data set's own order, as plain mappings.

    hub_id / hub_patterns   where core looks last: a data set repository on the Hugging Face Hub and the files wanted.
    """

    name: str
    summary: str
    load: Callable[[DatasetRequest], Iterable[Mapping[str, Any]]]
    hub_id: str | None = attrs.field(default=None, kw_only=True)
    hub_patterns: tuple[str, ...] = attrs.field(default=(), kw_only=True)


@attrs.frozen(kw_only=True)
class LoadRequest:
    """What a `LoaderSpec.load` receives.

    reference   the model as the user named it: hub id, folder, ``s3://…``, ``reference:``, ``samples:FILE``.
    n_heads     heads to draft with; ``None`` means all the checkpoint has. speculative: ``"auto"`` or ``"off"``.
    batch_size  rows decoded together; ``None`` lets the engine plan from free memory.
    device, dtype   ``"auto"`` or a torch name (``"cuda:0"``, ``"bfloat16"``).
    fetch       brings the model's files to this machine.
    """

    reference: str
    fetch: Fetch
    revision: str | None = None
    variant: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    n_heads: int | None = None
    speculative: str = "auto"
    batch_size: int | None = None


@attrs.frozen
class LoaderSpec:
    """A way to turn a model reference into an engine.

    matches(reference) is pure: it looks at the string, and at a local folder's listing if the string names one; it
    never touches the network. load(request) does the work and may take minutes.
    """

    name: str
    summary: str
    matches: Callable[[str], bool]
    load: Callable[[LoadRequest], Engine]


@attrs.frozen
class StorageSpec:
    """A storage mode and the URL schemes it opens.

    settings  the attrs class of the section ``storage.<mode>`` of config.yaml, or ``None`` if it has none.
    open      settings instance → `Storage`. For a URL of one of the `schemes`, core calls
              ``open_url(url, settings)`` → (storage, key or prefix within it).
    check     settings → lines for ``wmtp doctor`` (credentials found, bucket reachable …); without it, doctor opens
              the storage and lists.
    """

    mode: str
    summary: str
    schemes: tuple[str, ...]
    settings: type[Any] | None
    open: Callable[[Any], Storage]
    open_url: Callable[[str, Any], tuple[Storage, str]] | None = attrs.field(default=None, kw_only=True)
    check: Callable[[Any], Iterable[Check]] | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class EvaluatorSpec:
    """An evaluator: its id, the metrics it answers for, and what it needs.

    metrics   names and patterns: ``"mbpp_exact"``, ``"mbpp_pass@{k}"`` where ``{k}`` is a positive integer.
    dataset   the data set whose rows it reads, or ``None``.
    protocol  the protocol it serves (``"meta-mtp"``), or ``None`` for an ordinary benchmark.
    settings  attrs class of its options under ``eval.evaluators.<id>`` in the recipe, or ``None`` if it takes none.
    samples   whether it judges completions, so that ``wmtp score`` can hand it stored ones.
    descriptions  one of `metrics` → what it measures, for ``wmtp metrics``; the summary stands for those left out.
    """

    id: str
    summary: str
    metrics: tuple[str, ...]
    dataset: str | None = None
    protocol: str | None = None
    settings: type[Any] | None = None
    samples: bool = attrs.field(default=True, kw_only=True)
    descriptions: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, hash=False)


@attrs.frozen
class ScorerSpec:
    """A token-weight scorer for weighted training.

    settings  attrs class of its options. create(settings) returns a callable ``scorer(batch) -> weights`` with
              weights [batch, sequence], mean 1 over each row's valid tokens (`wmtp.weighting`).
    """

    name: str
    summary: str
    settings: type[Any] | None
    create: Callable[[Any], Callable[..., Any]]
