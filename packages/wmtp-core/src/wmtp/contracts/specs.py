"""The records that plugins register, one class a kind: frozen, keyword-only, cheap to build, free of heavy imports.

Discovery is apart from behaviour: a spec names a factory, and only the factory imports torch, boto3 or pyarrow. A field that
is wrong is refused where the record is made. Which hook takes which record is in `wmtp.plugins.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import attrs

from wmtp.contracts.architectures import ArchitectureSpec as ArchitectureSpec
from wmtp.contracts.engines import Engine
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask
from wmtp.contracts.judging import JudgeSpec as JudgeSpec
from wmtp.contracts.loading import DatasetRequest, Example, LoadRequest
from wmtp.contracts.storage import Storage
from wmtp.contracts.validators import (
    as_tuple,
    attrs_class,
    factory,
    identifier,
    import_target,
    metric_templates,
    one_line,
    one_of,
    optional_attrs_class,
    optional_factory,
    optional_import_target,
    optional_text,
    some_metrics,
    texts,
    texts_by_metric,
    true_or_false,
)

CORE_API = 1
"""Version of the plugin contract. It rises when a hook or record changes incompatibly."""


@attrs.frozen
class Check:
    """One line of ``wmtp doctor``: ``ok`` is true, false, or ``None`` where it does not apply here."""

    name: str
    ok: bool | None
    detail: str = ""


@attrs.frozen(kw_only=True)
class DatasetSpec:
    """A data set by name.

    Attributes:
        load: yields the rows of one split in the data set's own order, as plain mappings.
        hub_id: where core looks last, a data set repository on the Hugging Face Hub; hub_patterns: the files wanted.
        examples: a row → the texts that a model is trained on, in the form that the data set's evaluator asks in. Without it
            the data set cannot be trained on.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    load: Callable[[DatasetRequest], Iterable[Mapping[str, Any]]] = attrs.field(validator=factory)
    hub_id: str | None = attrs.field(default=None, validator=optional_text)
    hub_patterns: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=texts)
    examples: Callable[[Mapping[str, Any]], Iterable[Example]] | None = attrs.field(
        default=None, validator=optional_factory
    )


@attrs.frozen(kw_only=True)
class LoaderSpec:
    """A way to turn a model reference into an engine.

    Attributes:
        matches: reference → whether it is this loader's. Pure: it looks at the string, and at a local folder's listing if
            the string names one; it never touches the network.
        load: does the work, and may take minutes.
        settings: attrs class of its options under ``model.loaders.<name>`` in the recipe, or ``None`` if it takes none.
        fetches: it reads files that core brings here, so of references ``scheme://…`` only those are its own that some
            storage opens.
        on_devices: its engines run on this machine's devices, so that ``devices.replicas`` makes several of them.
        check: (reference, settings) → lines of ``wmtp doctor --model``: what whoever runs the model can do.
        switches_drafts: `LoadRequest.speculative` decides whether its engines draft.
        replays: its engines' samples are written already (`wmtp.Replays`): ``n: auto`` means all of them.
        local_path: reference → the file or folder of this machine that it names, or ``None``. Core looks there for changes.
        absolute: (reference, folder of the recipe) → the reference with its paths made absolute.
        load_model: the same request → the model itself with its tokenizer, for whoever trains it or scores with it. Without
            it, its references can only be asked.
        of_one_reference: names of settings that go with one reference alone (further addresses of it, say): the other side of
            ``wmtp audit --against`` has their defaults.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    matches: Callable[[str], bool] = attrs.field(validator=factory)
    load: Callable[[LoadRequest], Engine] = attrs.field(validator=factory)
    settings: type[Any] | None = attrs.field(default=None, validator=optional_attrs_class)
    fetches: bool = attrs.field(default=False, validator=true_or_false)
    replays: bool = attrs.field(default=False, validator=true_or_false)
    on_devices: bool = attrs.field(default=False, validator=true_or_false)
    check: Callable[[str, Any], Iterable[Check]] | None = attrs.field(default=None, validator=optional_factory)
    switches_drafts: bool = attrs.field(default=True, validator=true_or_false)
    local_path: Callable[[str], Path | None] | None = attrs.field(default=None, validator=optional_factory)
    absolute: Callable[[str, Path], str] | None = attrs.field(default=None, validator=optional_factory)
    load_model: Callable[[LoadRequest], Any] | None = attrs.field(default=None, validator=optional_factory)
    of_one_reference: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=texts)


@attrs.frozen(kw_only=True)
class StorageSpec:
    """A storage mode and the URL schemes it opens.

    Attributes:
        settings: the attrs class of the section ``storage.<mode>`` of config.yaml, or ``None`` if it has none.
        open: settings instance → `Storage`.
        open_url: (URL of one of the `schemes`, settings) → (storage, key or prefix within it).
        check: settings → lines for ``wmtp doctor`` (credentials found, bucket reachable …); without it, doctor opens the
            storage and lists.
        describe: (settings, key) → how people call what lies below a key, and what the cache knows it by: no two places have
            one name. Without it, the settings' values stand before the key, those aside that their class does not show.
    """

    mode: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    open: Callable[[Any], Storage] = attrs.field(validator=factory)
    settings: type[Any] | None = attrs.field(default=None, validator=optional_attrs_class)
    schemes: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=texts)
    open_url: Callable[[str, Any], tuple[Storage, str]] | None = attrs.field(default=None, validator=optional_factory)
    check: Callable[[Any], Iterable[Check]] | None = attrs.field(default=None, validator=optional_factory)
    describe: Callable[[Any, str], str] | None = attrs.field(default=None, validator=optional_factory)


@attrs.frozen(kw_only=True)
class EvaluatorSpec:
    """An evaluator: its id, the metrics it answers for, and what it needs.

    Attributes:
        metrics: names and patterns: ``"mbpp_exact"``, ``"mbpp_pass@{k}"`` where ``{k}`` is a positive integer.
        evaluate: task → result. Without it, the plugin implements the hook `wmtp_evaluate`, which is asked first.
        dataset: the data set whose rows it reads, or ``None``.
        protocol: the protocol it serves (``"meta-mtp"``), or ``None`` for an ordinary benchmark.
        settings: attrs class of its options under ``eval.evaluators.<id>`` in the recipe, or ``None`` if it takes none.
        samples: whether it judges completions, so that ``wmtp score`` can hand it stored ones.
        descriptions: one of `metrics` → what it measures, for ``wmtp metrics``; the summary stands for those left out.
        on_request: those of `metrics` that need a setting of their own: ``wmtp score`` reports them only where they are named.
    """

    id: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    metrics: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=metric_templates)
    evaluate: Callable[[EvaluationTask], EvaluationResult] | None = attrs.field(
        default=None, validator=optional_factory
    )
    dataset: str | None = attrs.field(default=None, validator=optional_text)
    protocol: str | None = attrs.field(default=None, validator=optional_text)
    settings: type[Any] | None = attrs.field(default=None, validator=optional_attrs_class)
    samples: bool = attrs.field(default=True, validator=true_or_false)
    descriptions: Mapping[str, str] = attrs.field(factory=dict, hash=False, validator=texts_by_metric)
    on_request: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=some_metrics)

    def __attrs_post_init__(self) -> None:
        if self.protocol is None and not self.metrics:
            raise TypeError(f"evaluator {self.id!r} answers for no metric; name them in EvaluatorSpec.metrics")


@attrs.frozen(kw_only=True)
class ScorerSpec:
    """A token-weight scorer for weighted training.

    Attributes:
        create: settings → a callable ``scorer(batch) -> weights`` with weights [batch, sequence], mean 1 over each row's
            valid tokens (`wmtp.weighting`). A scorer that learns from what it sees has ``moments(batch)``, ``update(moments)``,
            ``state_dict()`` and ``load_state_dict(state)`` too: a trainer sums moments over a step, updates once, and keeps
            the state in checkpoints. Calling it changes nothing.
        settings: attrs class of its options, or ``None`` if it takes none.
        needs: what a batch must hold beside ``mask`` and ``targets``, so that a trainer knows which models to load:
            ``base_ce`` (−log p of each token under the model in training), ``reference_ce`` (under a reference model),
            ``values`` (of a critic), ``given`` (weights from the data's rows).
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    create: Callable[[Any], Callable[..., Any]] = attrs.field(validator=factory)
    settings: type[Any] | None = attrs.field(default=None, validator=optional_attrs_class)
    needs: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=texts)


@attrs.frozen(kw_only=True)
class ControlSpec:
    """A control of a weighted training: what it would have been had the weights meant nothing, or the contrary.

    Attributes:
        create: settings → a callable ``control(weights, mask, keys) -> weights``. weights, mask: [batch, sequence], mask
            true where a token is trained; keys: a seed a row, all that randomness may depend on. Each row keeps its mean. It
            may have state as scorers have: ``moments(weights, mask)``, ``update``, ``state_dict``, ``load_state_dict``.
        settings: attrs class of its options, or ``None`` if it takes none.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    create: Callable[[Any], Callable[..., Any]] = attrs.field(validator=factory)
    settings: type[Any] | None = attrs.field(default=None, validator=optional_attrs_class)


@attrs.frozen(kw_only=True)
class SectionSpec:
    """A plugin's own part of recipe.yaml or config.yaml.

    Attributes:
        name: the key at the top of the file. A section that is written is in ``recipe.sections[name]`` or
            ``config.sections[name]``, an instance of `settings`.
        settings: the attrs class that structures it, as strictly as core's own.
        file: ``"recipe"`` (what to run) or ``"config"`` (where things are).
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    settings: type[Any] = attrs.field(validator=attrs_class)
    file: Literal["recipe", "config"] = attrs.field(default="recipe", validator=one_of("recipe", "config"))


@attrs.frozen(kw_only=True)
class Choice:
    """Something that a section chose by name, with its options: ``scorer: {name: rho1-excess-v1, temperature: 0.7}``.

    A plugin's settings have a field ``scorer: Annotated[wmtp.Choice, wmtp.OfKind("scorer")]``. The name alone serves as well.

    Attributes:
        settings: an instance of the record's settings class, or ``None`` if it takes no options.
    """

    name: str
    settings: Any = None


@attrs.frozen
class OfKind:
    """Which kind a `Choice` is of, as users call it: ``scorer``, ``control``, ``trainer``."""

    kind: str


@attrs.frozen
class Resolved:
    """What a text of a plugin's section stands for: ``Annotated[str, wmtp.Resolved("path")]``.

    A relative path in it is made absolute against the folder of the file that it was written in, as core's own are.

    Attributes:
        what: ``path``: a file, folder or URL. ``model``: a model's reference, as ``model.base_id`` is.
    """

    what: Literal["path", "model"] = attrs.field(validator=one_of("path", "model"))


@attrs.frozen(kw_only=True)
class CommandSpec:
    """A command of ``wmtp``.

    Attributes:
        target: ``"module:attribute"`` of a click command. It is imported when the command runs or its help is asked for.
        resumable: the command goes on where it stopped when it is started again; said when it is stopped.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    target: str = attrs.field(validator=import_target)
    resumable: bool = attrs.field(default=False, validator=true_or_false)


class Listener(Protocol):
    """Hears the events of a run (`wmtp.events`), one after another, on a thread of its own."""

    def handle(self, event: Any) -> None:
        """Called with each event. What it raises is reported once, and the listener is left out from then on."""
        ...

    def close(self) -> None:
        """Called once, behind the last event."""
        ...


@attrs.frozen(kw_only=True)
class TrackerSpec:
    """A tracker: something outside that a run's numbers are sent to. It is in use where ``tracking.<name>`` is written.

    It has one of `target` and `create`.

    Attributes:
        target: ``"module:attribute"`` of what makes a `Tracker`, called as ``attribute(settings, memory)``. It is imported in a
            process beside the run, which follows the run's journal.
        create: (settings, what is known of the run) → `Listener`, which hears the events themselves, in the run's process.
        settings: attrs class of the section ``tracking.<name>`` of config.yaml, or ``None`` if it takes no options.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    target: str = attrs.field(default="", validator=optional_import_target)
    create: Callable[[Any, Any], Listener] | None = attrs.field(default=None, validator=optional_factory)
    settings: type[Any] | None = attrs.field(default=None, validator=optional_attrs_class)

    def __attrs_post_init__(self) -> None:
        if bool(self.target) == (self.create is not None):
            raise TypeError(
                f"tracker {self.name!r} has one of TrackerSpec.target and TrackerSpec.create, not both or none"
            )


@attrs.frozen(kw_only=True)
class ReporterSpec:
    """A form in which a finished run is shown.

    Attributes:
        write: (run directory, what `wmtp.open_run` reads of it) → the file it has written there.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    write: Callable[[Path, Any], Path] = attrs.field(validator=factory)


@attrs.frozen(kw_only=True)
class TrainerSpec:
    """A way to train a model.

    Attributes:
        train: request → result. It imports torch, writes into the request's folder, and goes on where it stopped.
        settings: attrs class of its options, or ``None`` if it takes none.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    train: Callable[[Any], Any] = attrs.field(validator=factory)
    settings: type[Any] | None = attrs.field(default=None, validator=optional_attrs_class)
