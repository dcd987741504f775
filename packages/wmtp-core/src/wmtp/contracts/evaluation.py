"""What an evaluator receives, what it returns, and the records of a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import attrs

from wmtp.contracts.engines import (
    Completion,
    FinishReason,
    GenerationRequest,
    HeadScores,
    Message,
    SampleKey,
    Sampling,
)
from wmtp.contracts.judging import Judge, Outcome
from wmtp.contracts.values import (
    any_text,
    as_tuple,
    finite,
    instance_of,
    mapping,
    named_values,
    number,
    one_of,
    text,
    text_tuple,
    values_of,
)
from wmtp.errors import ConfigError

TooLong = Literal["error", "fail", "fewer-shots"]
"""What is done where a prompt does not fit the model's context (``eval.too_long``)."""

LINE_SCHEMA = 1
"""Version of the lines of samples and verdicts."""


@attrs.frozen(kw_only=True)
class MetricValue:
    """A metric with its 95 % interval.

    Attributes:
        value: ``None`` while something is missing: a sample, or a verdict that could not be reached.
        low: Lower end of the interval, ``None`` with the value.
        high: Upper end.
        problems: Problems that it is over.
        samples: Samples that it is over.
        unit: ``""`` for a share of 1, shown in percent.
        method: How the interval was made, as a reader is told: ``"bootstrap over problems"``, say. ``""``: there is none.
    """

    value: float | None = attrs.field(validator=finite)
    low: float | None = attrs.field(validator=finite)
    high: float | None = attrs.field(validator=finite)
    problems: int = attrs.field(validator=number(0, whole=True))
    samples: int = attrs.field(validator=number(0, whole=True))
    unit: str = attrs.field(default="", validator=any_text)
    method: str = attrs.field(default="", validator=any_text)

    def __attrs_post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"MetricValue.low is {self.low}, above MetricValue.high, {self.high}")


def _by_problem(record: object, field: attrs.Attribute[Any], found: Any) -> None:
    values_of(Mapping)(record, field, found)
    for metric, values in found.items():
        for problem, value in values.items():
            if not isinstance(problem, str):
                raise TypeError(
                    f"EvaluationResult.values of {metric!r} must be by problems' ids, which are text: {problem!r}"
                )
            if value is None or isinstance(value, bool):
                raise TypeError(f"EvaluationResult.values of {metric!r}, {problem!r}: must be a number, not {value!r}")
            finite(record, field, value)


@attrs.frozen(kw_only=True)
class EvaluationResult:
    """What `wmtp_evaluate` returns.

    Attributes:
        evaluator: Its id.
        metrics: The metrics it was asked for.
        counts: Verdicts by status.
        notes: What people must know, one line each.
        report: Lines of Markdown for this evaluator's part of report.md.
        parts: For an evaluator that serves a protocol: which owner answered what.
        failed: For an evaluator that serves a protocol: which owner raised what.
        values: Metric → problem → value, of each problem that has one: what the metric is the mean of. They are kept in the
            run, and runs are compared by them.
        too_long: Samples whose prompt did not fit the model's context, by what was done (`TooLong`): ``error`` have no value,
            ``fail`` count as failed, ``fewer-shots`` were asked with fewer examples.
        failing_tests: Problem → number → text of each test that a program failed, for people to look at.
    """

    evaluator: str = attrs.field(validator=text)
    metrics: Mapping[str, MetricValue] = attrs.field(validator=values_of(MetricValue))
    counts: Mapping[str, int] = attrs.field(factory=dict, validator=values_of(int))
    notes: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=text_tuple)
    report: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=text_tuple)
    parts: Mapping[str, EvaluationResult] = attrs.field(factory=dict, validator=named_values)
    failed: Mapping[str, Exception] = attrs.field(factory=dict, validator=values_of(Exception))
    values: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict, validator=_by_problem)
    too_long: Mapping[str, int] = attrs.field(factory=dict, validator=values_of(int))
    failing_tests: Mapping[str, Mapping[int, str]] = attrs.field(factory=dict, validator=values_of(Mapping))


@attrs.frozen
class Problem:
    """One problem of a benchmark: ``Problem(id, row, reference)``, the one record that is written by position.

    Attributes:
        id: Unique in its split, and text: what a samples file calls it.
        row: The data set's row.
        reference: Its reference solution as source, or ``None``.
        digest: What changes when the row does; ``None`` takes the digest of the row as JSON. Rows that are read late, so as
            not to hold every test in memory, give their own.
    """

    id: str = attrs.field(validator=text)
    row: Mapping[str, Any] = attrs.field(validator=mapping)
    reference: str | None = attrs.field(default=None, validator=attrs.validators.optional(any_text))
    digest: str | None = attrs.field(default=None, kw_only=True, validator=attrs.validators.optional(text))


@attrs.frozen(kw_only=True)
class Sample:
    """One sample: a line of ``samples/<evaluator>.jsonl``.

    Attributes:
        key: Which sample it is.
        completion: What the engine wrote.
        code: The program in it, ``None`` where there is none.
        finish_reason: How the completion ended.
        tokens: How many it has.
        seconds: The wall time it took part in.
        prompt_sha256: Digest of what it was asked with.
        generation_key: Digest of what it was made with.
        extra: `Completion.extra`.
        schema: Version of the line.
    """

    key: SampleKey = attrs.field(validator=instance_of(SampleKey))
    completion: str = attrs.field(validator=any_text)
    code: str | None = attrs.field(validator=attrs.validators.optional(any_text))
    finish_reason: FinishReason = attrs.field(validator=one_of(*get_args(FinishReason)))
    tokens: int = attrs.field(validator=number(0, whole=True))
    seconds: float = attrs.field(validator=number(0))
    prompt_sha256: str = attrs.field(validator=any_text)
    generation_key: str = attrs.field(validator=any_text)
    extra: Mapping[str, Any] = attrs.field(factory=dict, validator=named_values, hash=False)
    schema: int = LINE_SCHEMA


@attrs.frozen(kw_only=True)
class Verdict:
    """How a sample's program was judged: a line of ``verdicts/<evaluator>.jsonl``.

    Attributes:
        key: Which sample.
        code_sha256: Digest of the program that was judged.
        outcome: How it ended.
        judge_key: Digest of what it was judged with.
        schema: Version of the line.
    """

    key: SampleKey = attrs.field(validator=instance_of(SampleKey))
    code_sha256: str = attrs.field(validator=any_text)
    outcome: Outcome = attrs.field(validator=instance_of(Outcome))
    judge_key: str = attrs.field(validator=any_text)
    schema: int = LINE_SCHEMA


class Rows(Protocol):
    """Rows of the evaluator's data set; another split of the same data set for few-shot examples."""

    def __call__(self, split: str) -> Iterable[Mapping[str, Any]]: ...


@runtime_checkable
class FirstRows(Protocol):
    """What a task's `rows` may offer beside being called: a data set that reads no more than it must."""

    def first(self, split: str, limit: int) -> Iterable[Mapping[str, Any]]:
        """The first `limit` rows of a split; the data set may yield more."""
        ...


class Generate(Protocol):
    """Completions for requests, as they finish. The engine is opened on the first request, not before."""

    def __call__(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]: ...


class HeadScoring(Protocol):
    """How each head of the model predicts a text behind a prompt. The engine is opened on the first call."""

    def __call__(self, prompt: str | Sequence[Message], text: str) -> HeadScores: ...


def _no_model(prompt: str | Sequence[Message], text: str) -> HeadScores:
    raise ConfigError("this task has no model")


class EvaluatorStore(Protocol):
    """One evaluator's part of the run folder: what is there already, and where new lines go.

    Lines are on disk when a call returns, so a killed run loses at most what was being written.
    """

    def samples(self) -> Iterator[Sample]: ...

    def verdicts(self) -> Iterator[Verdict]: ...

    def sample(self, problem: str, index: int) -> Sample:
        """One that was read or added before, as it is on disk."""
        ...

    def by_problem(self, problems: Iterable[str]) -> Iterator[tuple[str, list[Sample], list[Verdict]]]:
        """The lines of one problem after another, each sorted by index; only one problem's are in memory."""
        ...

    def expect(self, total: int, *, samples: int = 0, verdicts: int = 0) -> None:
        """Says how many samples this evaluator will have in the end, and what is there already, for progress bars."""
        ...

    def add_prompts(self, prompts: Mapping[str, str | Sequence[Message]]) -> None:
        """Keeps what problems' samples were asked with, once a problem, so that a run can be read by itself."""
        ...

    def add_sample(self, sample: Sample) -> None: ...

    def add_samples(self, samples: Sequence[Sample]) -> None:
        """Several, in one write."""
        ...

    def replace_sample(self, sample: Sample) -> None:
        """One that was added before, with another program: the last line of a sample counts."""
        ...

    def add_verdict(self, verdict: Verdict) -> None: ...

    def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Several, in one write."""
        ...

    def generation_key(self, parts: Mapping[str, Any]) -> str:
        """The key of samples: engine identity, sampling and `parts` (the prompt form). Raises if it changed."""
        ...

    def judge_key(self, parts: Mapping[str, Any]) -> str:
        """The key of verdicts: level, limits and judge version, plus `parts` (the data rows' digest)."""
        ...


class Stopping(Protocol):
    """Says while a run samples whether it has seen enough (``eval.against``)."""

    def batches(
        self, *, rows: Mapping[str, str], prompts: Mapping[str, str], passed: Mapping[tuple[str, int], bool]
    ) -> Iterator[Sequence[tuple[str, int]]]:
        """Yield the samples that are wanted next, as (problem, index); nothing more once enough was seen.

        The same outcomes lead to the same batches, so a run that was stopped goes on to the same end. A metric is over the
        samples of all batches, each problem's from 0 on without a gap.

        Args:
            rows: Problem, in the split's order → digest of its data row and of judging. prompts: problem → its prompt's digest.
            passed: Outcomes of (problem, index). The caller adds those of a batch before asking for the next one.

        Raises:
            ConfigError: What is sampled towards measured something else.
        """
        ...


@attrs.frozen(kw_only=True)
class OwnerRun:
    """One owner's share of a run.

    Attributes:
        evaluator: The owner's evaluator.
        distribution: The distribution that it comes from.
        evaluate: Calls ``wmtp_evaluate`` on that owner alone, and may raise whatever it raises.
    """

    evaluator: str = attrs.field(validator=text)
    distribution: str
    evaluate: Callable[[], EvaluationResult]


@attrs.frozen(kw_only=True)
class EvaluationTask:
    """What `wmtp_evaluate` receives: one owner's part of a run.

    Attributes:
        evaluator: The owner's evaluator.
        metrics: The metric names this owner answers for, unprefixed.
        settings: An instance of the spec's settings class.
        sampling: How samples are drawn, and how many.
        limit: First N problems, or ``None`` for all.
        rows: Rows of the data set.
        store: What is on disk of this evaluator, and where new lines go.
        generate: Completions for requests.
        judge: The judge. It starts with the first program, so a task that judges nothing needs no sandbox.
        judged: To be called with each sample and its verdict once both are on disk: it tells the observers.
        owners: For an evaluator that serves a protocol: the owners of the run's metrics.
        available: Problems → how many samples of each there are, where they are replayed and all of them are wanted; else
            ``None``.
        stored: The same also where fewer are wanted; ``None`` where the engine writes its samples itself.
        head_scores: How each head of the model predicts a known text.
        stopping: Which samples are wanted, where that depends on how earlier ones were judged; `Sampling.n` is then the most
            that a problem may get. ``None``: n of every problem.
        too_long: What is done where a prompt does not fit the model's context.
    """

    evaluator: str = attrs.field(validator=text)
    metrics: tuple[str, ...] = attrs.field(converter=as_tuple, validator=text_tuple)
    settings: Any
    sampling: Sampling = attrs.field(validator=instance_of(Sampling))
    limit: int | None = attrs.field(validator=number(1, whole=True, besides=(None,)))
    rows: Rows
    store: EvaluatorStore
    generate: Generate
    judge: Judge
    judged: Callable[[Sample, Verdict], None] = lambda sample, verdict: None
    owners: tuple[OwnerRun, ...] = ()
    available: Callable[[Sequence[str]], Mapping[str, int]] | None = None
    stored: Callable[[Sequence[str]], Mapping[str, int]] | None = None
    head_scores: HeadScoring = _no_model
    stopping: Stopping | None = None
    too_long: TooLong = attrs.field(default="error", validator=one_of(*get_args(TooLong)))
