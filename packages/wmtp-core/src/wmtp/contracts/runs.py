"""results.json as records: what was run, on what, by whom, and every metric. Programs read it, so its keys are stable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from wmtp.contracts.evaluation import MetricValue
from wmtp.contracts.values import as_tuple, text

RECORD_SCHEMA = 1
RunKind = Literal["evaluation", "training"]


@attrs.frozen(kw_only=True)
class RunInfo:
    """Which run it was.

    Attributes:
        name: Its name, which is its folder's.
        tags: As the recipe has them.
        directory: The folder, as it was named on the machine that wrote the record.
        finished: When the session that wrote this ended, in ISO 8601.
        seconds: How long that session took.
    """

    name: str = attrs.field(validator=text)
    tags: tuple[str, ...] = attrs.field(default=(), converter=as_tuple)
    directory: str = ""
    finished: str = ""
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class SpeculationRecord:
    """What drafts were worth. Names are vLLM's where they mean the same; but drafts behind the end of a text are not counted.

    Attributes:
        coupling: How drafts are accepted: ``gumbel``, drawn under the same noise as the target's token and equal to it.
        num_drafts: Steps that drafted.
        num_draft_tokens: Drafts in them.
        num_accepted_tokens: Of these, those that were right.
        num_accepted_tokens_per_pos: The same by position in a step.
        per_position_acceptance_rate: Accepted over steps that have a draft there (unconditional).
        per_position_interval: 95 % over problems, (low, high); ``None`` for a single problem.
        conditional_acceptance_rate: Accepted over drafts whose predecessors were accepted.
        acceptance_histogram: Steps by how many of their drafts were right, from 0 on.
        mean_acceptance_length: Tokens a step, the bonus token included, over all steps.
        request_acceptance_length: The same as the mean of completions' own means.
    """

    coupling: str = "gumbel"
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0
    num_accepted_tokens_per_pos: tuple[int, ...] = attrs.field(default=(), converter=as_tuple)
    per_position_acceptance_rate: tuple[float | None, ...] = attrs.field(default=(), converter=as_tuple)
    per_position_interval: tuple[tuple[float, ...] | None, ...] = attrs.field(default=(), converter=as_tuple)
    conditional_acceptance_rate: tuple[float | None, ...] = attrs.field(default=(), converter=as_tuple)
    acceptance_histogram: tuple[int, ...] = attrs.field(default=(), converter=as_tuple)
    mean_acceptance_length: float | None = None
    request_acceptance_length: float | None = None


@attrs.frozen(kw_only=True)
class GenerationRecord:
    """Totals over the stored samples, and what the run's engines counted, if any did.

    Attributes:
        samples: Samples on disk.
        tokens: Tokens in them.
        truncated: Samples that ended at ``max_new_tokens``.
        too_long: Samples whose prompt did not fit the model's context, by what was done: ``error``, ``fail``, ``fewer-shots``.
        batch_invariant: Whether another batch size would have given the same samples; ``None``: nobody knows.
        seconds: Time spent generating, over all sessions.
        tokens_per_second: Over the same time.
        tokens_per_forward: Tokens that a row got from a forward; 1 without drafts.
        acceptance: Share of each extra head's drafts that were right.
        speculation: More of that; ``None`` where nothing was drafted.
        notes: What must be known to read these figures.
    """

    samples: int = 0
    tokens: int = 0
    truncated: int = 0
    too_long: Mapping[str, int] = attrs.field(factory=dict)
    batch_invariant: bool | None = None
    seconds: float | None = None
    tokens_per_second: float | None = None
    tokens_per_forward: float | None = None
    acceptance: tuple[float | None, ...] = attrs.field(default=(), converter=as_tuple)
    speculation: SpeculationRecord | None = None
    notes: tuple[str, ...] = attrs.field(default=(), converter=as_tuple)


@attrs.frozen(kw_only=True)
class JudgingRecord:
    """How programs were judged.

    Attributes:
        level: Level of the sandbox in force; ``""`` where nothing was judged in this session.
        infrastructure: Verdicts that could not be reached, through no fault of the model.
        notes: What must be known about it.
    """

    level: str = ""
    infrastructure: int = 0
    notes: tuple[str, ...] = attrs.field(default=(), converter=as_tuple)


@attrs.frozen(kw_only=True)
class EvaluatorFailure:
    """An owner that raised. `user`: the user can mend it."""

    distribution: str
    error: str
    user: bool


@attrs.frozen(kw_only=True)
class PluginUse:
    """A plugin that was installed. state: loaded, blocked, incompatible, broken."""

    distribution: str
    version: str
    state: str


@attrs.frozen(kw_only=True)
class PluginFault:
    """A plugin that is not in use, and why."""

    distribution: str
    version: str
    error: str


@attrs.frozen(kw_only=True)
class Provenance:
    """What the run was made with.

    Attributes:
        packages: Versions of Python and of libraries.
        plugins: All that was installed.
        plugin_errors: Those that are not in use.
        model: Where the model came from, and what decides its samples.
        data: Data set → where its rows came from.
        keys: What samples (``generation``) and verdicts (``judge``) were made with, by evaluator.
    """

    packages: Mapping[str, str] = attrs.field(factory=dict)
    plugins: tuple[PluginUse, ...] = attrs.field(default=(), converter=as_tuple)
    plugin_errors: tuple[PluginFault, ...] = attrs.field(default=(), converter=as_tuple)
    model: Mapping[str, str] = attrs.field(factory=dict)
    data: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    keys: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class RunRecord:
    """The object of results.json.

    Attributes:
        schema: Version of this record.
        run: Which run.
        metrics: By the names that were asked for.
        verdicts: Evaluator → status → how many.
        generation: How samples were made.
        judging: How they were judged.
        failed_evaluators: Evaluators that raised.
        notes: Evaluator → what must be known.
        provenance: What the run was made with.
        config: config.yaml, as plain data.
        recipe: recipe.yaml, as plain data.
    """

    schema: int = RECORD_SCHEMA
    run: RunInfo
    metrics: Mapping[str, MetricValue] = attrs.field(factory=dict)
    verdicts: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    generation: GenerationRecord = attrs.field(factory=GenerationRecord)
    judging: JudgingRecord = attrs.field(factory=JudgingRecord)
    failed_evaluators: Mapping[str, EvaluatorFailure] = attrs.field(factory=dict)
    notes: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    provenance: Provenance = attrs.field(factory=Provenance)
    config: Mapping[str, Any] = attrs.field(factory=dict)
    recipe: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def complete(self) -> bool:
        """True if every metric has a value and no evaluator failed."""
        return not self.failed_evaluators and all(metric.value is not None for metric in self.metrics.values())
