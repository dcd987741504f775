"""What an evaluator receives, what it returns, and the rows of a run directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs

from wmtp.contracts.engines import Completion, FinishReason, GenerationRequest, HeadScores, Message, Sampling
from wmtp.contracts.judging import CallTests, Judge, Status, StdioTests
from wmtp.errors import ConfigError

__all__ = [
    "CallTests", "EvaluationResult", "EvaluationTask", "EvaluatorRun", "MetricValue", "Part", "Problem", "Rows", "Sample",
    "StdioTests", "Verdict",
]  # fmt: skip


@attrs.frozen
class MetricValue:
    """A metric with its 95 % interval. ``value`` is ``None`` while infrastructure verdicts touch it."""

    value: float | None
    low: float | None
    high: float | None
    problems: int
    samples: int
    unit: str = attrs.field(default="", kw_only=True)  # "" for a share of 1, shown in percent


@attrs.frozen
class EvaluationResult:
    """What `wmtp_evaluate` returns: the metrics it was asked for, and verdict counts by status.

    notes      what people must know, one line each. report: lines of Markdown for this evaluator's part of report.md.
    parts, failed   for an evaluator that serves a protocol: which owner answered what, and which one raised.
    """

    evaluator: str
    metrics: Mapping[str, MetricValue]
    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()
    report: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    parts: Mapping[str, EvaluationResult] = attrs.field(factory=dict, kw_only=True)
    failed: Mapping[str, Exception] = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Problem:
    """One problem of a benchmark.

    reference  its reference solution as source, or ``None``.
    digest     what changes when the row does; ``None`` takes the digest of the row as JSON. Rows that are read late, so as
               not to hold every test in memory, give their own.
    """

    id: str
    row: Mapping[str, Any]
    reference: str | None = None
    digest: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(kw_only=True)
class Sample:
    """A line of ``samples/<evaluator>.jsonl``."""

    schema: int = 1
    evaluator: str
    problem: str
    index: int
    completion: str
    code: str | None
    finish_reason: FinishReason
    tokens: int
    seconds: float
    prompt_sha256: str
    generation_key: str


@attrs.frozen(kw_only=True)
class Verdict:
    """A line of ``verdicts/<evaluator>.jsonl``."""

    schema: int = 1
    evaluator: str
    problem: str
    index: int
    code_sha256: str
    status: Status
    passed: bool
    tests_passed: int
    tests: int
    cpu_seconds: float
    wall_seconds: float
    peak_mib: float
    detail: str
    judge_key: str


class Rows(Protocol):
    """Rows of the evaluator's data set; another split of the same data set for few-shot examples."""

    def __call__(self, split: str) -> Iterable[Mapping[str, Any]]: ...


class Generate(Protocol):
    """Completions for requests, as they finish. The engine is opened on the first request, not before."""

    def __call__(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]: ...


class HeadScoring(Protocol):
    """How each head of the model predicts a text behind a prompt. The engine is opened on the first call."""

    def __call__(self, prompt: str | Sequence[Message], text: str) -> HeadScores: ...


def _no_model(prompt: str | Sequence[Message], text: str) -> HeadScores:
    raise ConfigError("this task has no model")


class EvaluatorRun(Protocol):
    """One evaluator's part of the run directory: what is there already, and where new lines go.

    Lines are flushed one at a time, so a killed run loses at most the line being written.
    """

    def samples(self) -> Iterator[Sample]: ...

    def verdicts(self) -> Iterator[Verdict]: ...

    def by_problem(self, problems: Iterable[str]) -> Iterator[tuple[str, list[Sample], list[Verdict]]]:
        """The lines of one problem after another, each sorted by index; only one problem's are in memory."""
        ...

    def expect(self, total: int, *, samples: int = 0, verdicts: int = 0) -> None:
        """Says how many samples this evaluator will have in the end, and what is there already, for progress bars."""
        ...

    def add_sample(self, sample: Sample) -> None: ...

    def add_verdict(self, verdict: Verdict) -> None: ...

    def generation_key(self, parts: Mapping[str, Any]) -> str:
        """The key of samples: engine identity, sampling and `parts` (the prompt form). Raises if it changed."""
        ...

    def judge_key(self, parts: Mapping[str, Any]) -> str:
        """The key of verdicts: level, limits and judge version, plus `parts` (the data rows' digest)."""
        ...


@attrs.frozen
class Part:
    """One owner's share of a run. `run` calls ``wmtp_evaluate`` on that owner alone, and may raise whatever it raises."""

    evaluator: str
    distribution: str
    run: Callable[[], EvaluationResult]


@attrs.frozen(kw_only=True)
class EvaluationTask:
    """What `wmtp_evaluate` receives: one owner's part of a run.

    metrics   the metric names this owner answers for, unprefixed. settings: an instance of the spec's settings class.
    limit     first N problems, or ``None``. rows, run, generate, judge: see their classes.
    available problems → how many samples of each there are, where they are replayed and all of them are wanted; else ``None``.
    judged    to be called with each sample and its verdict once both are on disk: it tells the observers.
    head_scores(prompt, text) → how each head of the model predicts a known text (`HeadScores`).
    parts     for an evaluator that serves a protocol: the owners of the run's metrics, in order of name.
    """

    evaluator: str
    metrics: tuple[str, ...]
    settings: Any
    sampling: Sampling
    limit: int | None
    rows: Rows
    run: EvaluatorRun
    generate: Generate
    judge: Judge
    judged: Callable[[Sample, Verdict], None] = lambda sample, verdict: None
    parts: tuple[Part, ...] = ()
    available: Callable[[Sequence[str]], Mapping[str, int]] | None = None
    head_scores: HeadScoring = _no_model
