"""What a comparison reads, and what it says."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs

from wmtp.statistics.paired import Difference
from wmtp.statistics.planning import Needed

SCHEMA = 1
EXTRACTION = "extraction "  # before the distribution whose version decides how programs are taken out
MOST_SCORE = 1e100  # of other tools' files: what is larger is no score, and its square no number
UNJUDGED = "nobody here judged the samples of {name}: its {what} are {form}'s own"


@attrs.frozen(kw_only=True)
class Judged:
    """What one evaluator, or another tool, says of each problem's samples.

    Attributes:
        passed: Problem → index → whether that sample passed. Empty where there are values alone.
        problems: Those that it answers for, where there are values alone; else those of `passed`.
        keys: What decides verdicts and prompts: named values, compared one by one.
        rows: Problem → digest of data row and judging. prompts: problem → digest of the prompt. Empty where nobody knows.
        texts: Problem → index → hash of what the model wrote, good within this process. Empty where nobody knows.
    """

    passed: Mapping[str, Mapping[int, bool]]
    keys: Mapping[str, Any] = attrs.field(factory=dict)
    rows: Mapping[str, str] = attrs.field(factory=dict)
    prompts: Mapping[str, str] = attrs.field(factory=dict)
    texts: Mapping[str, Mapping[int, int]] = attrs.field(factory=dict)
    problems: Collection[str] = attrs.field(default=attrs.Factory(lambda self: self.passed.keys(), takes_self=True))


@attrs.frozen(kw_only=True)
class RunData:
    """One run, as a comparison sees it.

    Attributes:
        name: What tables call it. path: folder or file. form: ``"run"``, or whose file it is.
        metrics: Metric → value, as the run states it; of a file of another tool, the mean over its problems.
        units: Metric → unit, where it has one.
        owners: Metric → the key in `judged` that it comes from.
        judged: Evaluator → outcomes and keys. values: metric → problem → value, for metrics that are no pass@k.
        drafts: Metrics of how many drafts were accepted: no quality, and a family of their own.
        seed: Of the sampling; ``None`` where it is unknown. model: for people.
        content: Digest of a file of another tool.
        notes: What people must know.
    """

    name: str
    path: Path
    form: str = "run"
    metrics: Mapping[str, float] = attrs.field(factory=dict)
    units: Mapping[str, str] = attrs.field(factory=dict)
    owners: dict[str, str] = attrs.field(factory=dict)
    judged: Mapping[str, Judged] = attrs.field(factory=dict, repr=False)
    values: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict, repr=False)
    drafts: tuple[str, ...] = ()
    seed: int | None = None
    model: str = ""
    content: str = ""
    notes: tuple[str, ...] = ()

    @property
    def judged_here(self) -> bool:
        return self.form == "run"


@attrs.frozen(kw_only=True)
class MetricComparison:
    """One metric of two runs.

    Attributes:
        gained, lost: Problems whose value crossed one half, upwards and downwards; of shares alone.
        share: Whether the metric is a share, told in percent and points.
    """

    metric: str
    a: str
    b: str
    found: Difference
    lower_is_better: bool
    p_holm: float
    verdict: str
    needed: Needed | None
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    unit: str = ""
    share: bool = True

    @property
    def only_these(self) -> bool:
        """Whether the verdict is of these problems alone: the p-value is small, and the interval for new ones holds zero."""
        low, high = self.found.low, self.found.high
        return self.verdict in {"better", "worse"} and (low is None or high is None or low <= 0 <= high)

    def _detectable(self) -> float | None:
        """Of shares 1 or more, and of other values ``None``, where such comparisons find no difference."""
        least = self.found.smallest_detectable
        return least if math.isfinite(least) else 1.0 if self.found.share else None

    def to_json(self) -> dict[str, Any]:
        found = self.found
        return {
            "metric": self.metric, "a": self.a, "b": self.b, "value_a": found.a, "value_b": found.b, "unit": self.unit,
            "lower_is_better": self.lower_is_better, "difference": found.difference, "low": found.low,
            "high": found.high, "method": found.method,
            "these_problems": {"low": found.these_low, "high": found.these_high},
            "p_value": found.p_value, "p_error": found.p_error, "test": found.test, "p_holm": self.p_holm,
            "verdict": self.verdict, "problems": found.problems, "discordant": found.discordant,
            "rose": found.rose, "fell": found.discordant - found.rose,
            "samples": found.samples, "smallest_detectable": self._detectable(),
            "needed": None if self.needed is None else attrs.asdict(self.needed),
            "coupling": None if found.coupling is None else attrs.asdict(found.coupling),
            "flips": {"gained": list(self.gained), "lost": list(self.lost)},
        }  # fmt: skip


@attrs.frozen(kw_only=True)
class Trend:
    """A metric's slope over three or more runs in their order, a step being one run. One problem may leave no interval."""

    metric: str
    runs: tuple[str, ...]
    values: tuple[float, ...]
    slope: float
    low: float | None
    high: float | None
    p_value: float


@attrs.frozen(kw_only=True)
class Comparison:
    """What `wmtp.compare` returns.

    Attributes:
        comparisons: One for each metric and each run but the first, against the first.
        trends: One for each metric, where there are three runs or more.
        equivalent: Within which difference runs count as equivalent, or ``None``.
        despite: What differs between the runs and was compared all the same: key, and its value in each run.
        notes: What people must know, one line each.
    """

    runs: tuple[RunData, ...]
    comparisons: tuple[MetricComparison, ...]
    trends: tuple[Trend, ...] = ()
    equivalent: float | None = None
    despite: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object that ``wmtp compare --json`` prints; ``comparison.schema.json`` beside this file describes it."""
        return {
            "schema": SCHEMA,
            "runs": [
                {
                    "name": r.name, "path": str(r.path), "form": r.form, "model": r.model, "seed": r.seed,
                    "judged_here": r.judged_here, "metrics": dict(r.metrics), "notes": list(r.notes),
                }
                for r in self.runs
            ],
            "comparisons": [c.to_json() for c in self.comparisons],
            "trends": [
                {**attrs.asdict(t), "runs": list(t.runs), "values": list(t.values)} for t in self.trends
            ],
            "equivalent": self.equivalent,
            "despite": [dict(d) for d in self.despite],
            "notes": list(self.notes),
        }  # fmt: skip
