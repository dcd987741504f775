"""The table of kinds: what a plugin can bring. Checks, registries, conflicts, listings and documents loop over it.

A kind is one line here, one hook in `wmtp.plugins.hookspecs` and one record in `wmtp.contracts.specs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from wmtp.contracts import specs
from wmtp.plugins import hookspecs


@attrs.frozen(kw_only=True)
class Claim:
    """Further names that a record takes, beside the one that it is found by.

    Attributes:
        kind: what users read: ``URL scheme``. field: the record's field that holds them.
        registry: the attribute of `Plugins` that maps them to records; without one, they are only listed.
    """

    kind: str
    field: str
    registry: str = ""


@attrs.frozen(kw_only=True)
class Kind:
    """One kind of thing that plugins bring.

    Attributes:
        name: what users read: ``storage mode``.
        hook: the hook specification that takes its records. ``wmtp_storages`` makes `Plugins.storages`.
        record: the class of the records. key: the field that a record is found by.
        settings: where users write the options of one: ``recipe.eval.evaluators`` for ``recipe.eval.evaluators.<name>``.
            Empty where it takes none, or where the section of whoever uses it holds them.
        claims: further names.
        contract: the class in `wmtp.testing` that one is held to.
    """

    name: str
    hook: Callable[[], Iterable[Any]]
    record: type[Any]
    key: str = "name"
    settings: str = ""
    claims: tuple[Claim, ...] = ()
    contract: str = ""

    @property
    def hook_name(self) -> str:
        return self.hook.__name__

    @property
    def registry(self) -> str:
        """The attribute of `Plugins` that maps names to records of this kind."""
        return self.hook_name.removeprefix("wmtp_")

    def name_of(self, spec: Any) -> str:
        """The name that a record is found by."""
        return str(getattr(spec, self.key))


KINDS: list[Kind] = [
    Kind(
        name="storage mode",
        contract="StorageContract",
        hook=hookspecs.wmtp_storages,
        record=specs.StorageSpec,
        key="mode",
        settings="config.storage",
        claims=(Claim(kind="URL scheme", field="schemes", registry="schemes"),),
    ),
    Kind(
        name="loader",
        contract="LoaderContract",
        hook=hookspecs.wmtp_loaders,
        record=specs.LoaderSpec,
        settings="recipe.model.loaders",
    ),
    Kind(name="data set", contract="DatasetContract", hook=hookspecs.wmtp_datasets, record=specs.DatasetSpec),
    Kind(
        name="evaluator",
        contract="EvaluatorContract",
        hook=hookspecs.wmtp_evaluators,
        record=specs.EvaluatorSpec,
        key="id",
        settings="recipe.eval.evaluators",
        claims=(Claim(kind="metric", field="metrics"),),
    ),
    Kind(name="judge", contract="JudgeContract", hook=hookspecs.wmtp_judges, record=specs.JudgeSpec),
    Kind(name="scorer", contract="ScorerContract", hook=hookspecs.wmtp_scorers, record=specs.ScorerSpec),
    Kind(name="control", contract="ControlContract", hook=hookspecs.wmtp_controls, record=specs.ControlSpec),
    Kind(name="trainer", contract="TrainerContract", hook=hookspecs.wmtp_trainers, record=specs.TrainerSpec),
    Kind(
        name="architecture",
        contract="ArchitectureContract",
        hook=hookspecs.wmtp_architectures,
        record=specs.ArchitectureSpec,
    ),
    Kind(
        name="tracker",
        contract="TrackerContract",
        hook=hookspecs.wmtp_trackers,
        record=specs.TrackerSpec,
        settings="config.tracking",
    ),
    Kind(name="reporter", contract="ReporterContract", hook=hookspecs.wmtp_reporters, record=specs.ReporterSpec),
    Kind(name="section", contract="SectionContract", hook=hookspecs.wmtp_sections, record=specs.SectionSpec),
    Kind(name="command", contract="CommandContract", hook=hookspecs.wmtp_commands, record=specs.CommandSpec),
]


def kind(name: str) -> Kind:
    """The kind that users call `name`. Raises KeyError."""
    return {k.name: k for k in KINDS}[name]
