"""What is found of a model or a data set, and what their loaders are asked with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import attrs

from wmtp.contracts.architectures import ArchitectureSpec
from wmtp.contracts.engines import Message


@attrs.frozen
class Resource:
    """A model or data set that has been found and is on this machine now.

    Attributes:
        path: File or folder to read.
        source: Where it came from: ``local``, ``cache``, ``storage:s3``, ``hub`` …, for provenance.
        version: What pins it: a commit, a manifest digest; ``""`` for a local path, which nothing pins.
    """

    path: Path
    source: str
    version: str = ""


class Fetch(Protocol):
    """Resolves the resource of a request: local copy → cache → storage → hub.

    patterns: glob patterns of the files that are needed (``None``: all of them). Each call returns a resource that
    holds at least the files that match. Raises `wmtp.ResourceError` naming every place tried.
    """

    def __call__(self, patterns: tuple[str, ...] | None = None) -> Resource: ...


@attrs.frozen(kw_only=True)
class DatasetRequest:
    """What a `DatasetSpec.load` receives.

    Attributes:
        split: The split asked for (``"test"``), in the data set's own words.
        fetch: Brings the data set to this machine; `Resource.path` is a file or a folder.
        limit: The caller will read no more than this many rows (``None``: all); a loader may stop early.
    """

    dataset: str
    split: str
    fetch: Fetch
    limit: int | None = None


@attrs.frozen(kw_only=True)
class Example:
    """One text to train on: what is asked, and what shall be answered.

    Attributes:
        id: Names it in messages; by default its row's place.
        prompt: What comes before: text, or turns for the tokenizer's chat template. Empty for plain text.
        answer: What is learned. The tokenizer's end token follows it.
        weights: (first character, end, weight) of spans of the answer, for `given-v1`; what no span covers weighs 1.
    """

    id: str = ""
    prompt: str | tuple[Message, ...] = ""
    answer: str
    weights: tuple[tuple[int, int, float], ...] = ()


@attrs.frozen(kw_only=True)
class LoadRequest:
    """What a `LoaderSpec.load` receives.

    Attributes:
        reference: The model as the user named it: hub id, folder, ``s3://…``, ``reference:``, ``samples:FILE``.
        n_heads: Heads to draft with; ``None`` means all the checkpoint has.
        speculative: ``"auto"``, ``"always"``, ``"off"``.
        batch_size: Rows decoded together; ``None`` lets the engine plan from free memory.
        device: ``"auto"`` or a torch name (``"cuda:0"``).
        dtype: ``"auto"`` or a torch name (``"bfloat16"``).
        threads: Of the CPU, for a model that runs there; ``None`` lets the engine weigh.
        fetch: Brings the model's files to this machine.
        fetch_of: Reference and revision of another model, which this one needs → what brings that one's, by the same
            chain.
        settings: An instance of `LoaderSpec.settings`, from the recipe's ``model.loaders.<name>``.
        trust_remote_code: Whether Python files that come with the model may run.
        architectures: Records of the families whose multi-token-prediction modules are known.
        whole_digests: The engine's identity has the sha256 of whole files, however long: the run that it is for was
            begun so.
    """

    reference: str
    fetch: Fetch = attrs.field(eq=False, repr=False)
    fetch_of: Callable[[str, str | None], Fetch] | None = attrs.field(default=None, eq=False, repr=False)
    revision: str | None = None
    variant: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    n_heads: int | None = None
    speculative: str = "auto"
    batch_size: int | None = None
    threads: int | None = None
    settings: Any = None
    trust_remote_code: bool = False
    architectures: tuple[ArchitectureSpec, ...] = ()
    whole_digests: bool = False
