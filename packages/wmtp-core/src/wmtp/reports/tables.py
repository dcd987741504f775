"""Rows of the page's tables, out of runs and their comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

from markupsafe import Markup

from wmtp.comparison.records import Comparison, MetricComparison
from wmtp.comparison.table import amount, p_value, signed, span
from wmtp.contracts.runs import GenerationRecord, SpeculationRecord
from wmtp.reports.charts import bars, columns, intervals, short_names
from wmtp.reports.rundata import ReportRun
from wmtp.reports.said import Block, curves, parts

TIMINGS = ("samples", "tokens", "truncated", "tokens_per_second", "tokens_per_forward", "seconds")
UNJUDGED = frozenset({"infrastructure", "not judged", "scored"})
"""Statuses of samples that neither passed nor failed."""
MOST_OF_A_NAME = 16  # characters of a run's name in a chart
Row = dict[str, Any]


def metric_rows(runs: Sequence[ReportRun]) -> list[Row]:
    """Every run's metrics, those of one name beside one another."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return [_metric(run, name) for name in names for run in runs if name in run.metrics]


def _metric(run: ReportRun, name: str) -> Row:
    metric = run.metrics[name]
    value, low, high, unit = metric.value, metric.low, metric.high, metric.unit
    span = "—"
    share = not unit and all(0 <= v <= 1 for v in (value, low, high) if v is not None)
    if low is not None and high is not None:
        span = f"{100 * low:.1f} – {100 * high:.1f}" if share else f"{low:.3f} – {high:.3f}"
    return {
        "metric": name, "run": run.name, "raw": value, "low": low, "high": high,
        "value": "—" if value is None else amount(value, unit, share=share), "span": span, "method": metric.method or "—",
        "problems": metric.problems, "samples": metric.samples,
        "share": share and value is not None and low is not None,
    }  # fmt: skip


def metrics_chart(metrics: Sequence[Row], runs: Sequence[ReportRun]) -> Markup:
    """The shares among the metrics, with their intervals."""
    short = _short([run.name for run in runs])
    rows = [
        (f"{m['metric']} · {short[m['run']]}" if len(runs) > 1 else str(m["metric"]), m["raw"], m["low"], m["high"])
        for m in metrics
        if m["share"]
    ]
    return intervals(rows, title="Metrics with their 95 % intervals")


def _short(names: Sequence[str]) -> dict[str, str]:
    """Run → what a chart calls it."""
    return dict(zip(names, short_names(names, MOST_OF_A_NAME), strict=True))


def comparison_rows(found: Comparison | None, numbers: Mapping[str, int]) -> list[Row]:
    """Every comparison. numbers: problem → its number in the page, for those that it can open."""
    return [
        {
            "metric": c.metric, "run": c.b, "verdict": c.verdict, "only_these": c.only_these,
            "difference": _signed(c, c.found.difference),
            "span": _span(c, c.found.low, c.found.high),
            "these": "—" if c.found.within is None else _span(c, c.found.these_low, c.found.these_high),
            "p": p_value(c.found.p_value), "holm": p_value(c.p_holm),
            "flips": _flips(c, found.runs[0].owners.get(c.metric, "") if found else "", numbers),
        }
        for c in (found.comparisons if found else ())
    ]  # fmt: skip


def _flips(
    one: MetricComparison, evaluator: str, numbers: Mapping[str, int]
) -> list[tuple[str, list[tuple[str, int | None]]]]:
    """Problems gained and lost, each with its number."""

    def numbered(problem: str) -> tuple[str, int | None]:
        return shown_name(problem), numbers.get(problem, numbers.get(f"{evaluator} · {problem}"))

    return [(kind, [numbered(p) for p in of]) for kind, of in (("gained", one.gained), ("lost", one.lost)) if of]


def _signed(one: MetricComparison, value: float) -> str:
    return signed(value, one.unit, share=one.share)


def _span(one: MetricComparison, low: float | None, high: float | None) -> str:
    return span(low, high, partial(signed, unit=one.unit, share=one.share), " – ")


def comparison_chart(found: Comparison | None) -> Markup:
    short = _short([run.name for run in found.runs] if found else [])
    rows = [
        (f"{c.metric} · {short[c.b]}", c.found.difference, c.found.low, c.found.high)
        for c in (found.comparisons if found else ())
        if c.share and c.found.low is not None and c.found.high is not None
    ]
    return intervals(rows, title="Differences with their 95 % intervals", zero=True)


def trend_rows(found: Comparison | None, metrics: Sequence[Row]) -> list[Row]:
    """Each metric over three runs or more in their order, with the runs' own intervals."""
    rows = []
    for trend in found.trends if found else ():
        one = next(c for c in found.comparisons if c.metric == trend.metric) if found else None
        assert one is not None, "a trend is of metrics that were compared"
        of = {m["run"]: m for m in metrics if m["metric"] == trend.metric and m["share"]}
        short = _short(trend.runs)
        points = [(short[run], of[run]["raw"], of[run]["low"], of[run]["high"]) for run in trend.runs if run in of]
        rows.append({
            "metric": trend.metric, "slope": _signed(one, trend.slope), "p": p_value(trend.p_value),
            "span": _span(one, trend.low, trend.high),
            "values": [amount(v, one.unit, share=one.share) for v in trend.values],
            "svg": columns(points, title=f"{trend.metric} over {len(points)} runs") if len(points) > 2 else "",
        })  # fmt: skip
    return rows


def problem_names(runs: Sequence[ReportRun]) -> list[str]:
    """The problems of all runs, each once, in the order in which they come."""
    return list(dict.fromkeys(name for run in runs for of in (run.samples, *run.values.values()) for name in of))


def shown_name(name: str) -> str:
    """A problem's name; quoted where it would not be seen."""
    return name if name.strip() else repr(name)


def problem_rows(runs: Sequence[ReportRun], names: Sequence[str]) -> list[Row]:
    return [_problem(runs, name) for name in names]


def _problem(runs: Sequence[ReportRun], name: str) -> Row:
    cells = [_cell(run, name) for run in runs]
    known = [cell["share"] for cell in cells if cell["share"] is not None]
    samples = [s for run in runs for s in run.samples.get(name, ())]
    tokens = [s.tokens for s in samples]
    kinds = [k for k, holds in (
        ("never", known and not any(known)), ("failed", any(s < 1 for s in known)),
        ("solved", known and all(s == 1 for s in known)), ("unjudged", any(s.status in UNJUDGED for s in samples)),
        ("changed", len(set(known)) > 1),
        ("gained", len(known) > 1 and known[0] < 0.5 <= known[-1]),
        ("lost", len(known) > 1 and known[-1] < 0.5 <= known[0]),
    ) if holds]  # fmt: skip
    change = known[-1] - known[0] if len(known) > 1 else 0.0
    return {
        "name": shown_name(name), "kinds": " ".join(kinds), "cells": cells,
        "difference": round(change, 6), "difference_text": f"{100 * change:+.0f}" if len(known) > 1 else "—",
        "tokens": round(sum(tokens) / len(tokens)) if tokens else 0,
    }  # fmt: skip


def _cell(run: ReportRun, name: str) -> Row:
    """Passes among the samples that were judged; a score, where there are no samples that pass or fail."""
    samples = run.samples.get(name, [])
    judged = [s for s in samples if s.status not in UNJUDGED]
    if judged:
        passed = sum(s.status == "passed" for s in judged)
        lost = f" ({len(samples) - len(judged)} ?)" if len(judged) < len(samples) else ""
        return {"share": round(passed / len(judged), 6), "text": f"{passed} / {len(judged)}{lost}"}
    if any(
        s.status != "scored" for s in samples
    ):  # a verdict that could not be reached is no failure, and no score either
        return {"share": None, "text": f"— ({len(samples)} ?)"}
    for metric, of in run.values.items():
        if name in of:
            unit = run.metrics[metric].unit if metric in run.metrics else ""
            share = not unit and 0 <= of[name] <= 1
            return {
                "share": of[name] if share else None,
                "text": amount(of[name], unit, share=share),
                "value": of[name],
            }
    return {"share": None, "text": "—"}


def verdict_rows(runs: Sequence[ReportRun]) -> list[Row]:
    return [
        {"run": run.name, "status": status, "count": count}
        for run in runs
        for status, count in Counter(s.status for of in run.samples.values() for s in of).most_common()
    ]


def acceptance_parts(runs: Sequence[ReportRun]) -> list[Row]:
    """Each run's acceptance by depth, as a chart and as rows."""
    return [_acceptance(run.name, run.generation) for run in runs if run.generation and any(run.generation.acceptance)]


def _acceptance(name: str, generation: GenerationRecord) -> Row:
    drafts = generation.speculation or SpeculationRecord()
    depths = list(zip_longest(generation.acceptance, drafts.per_position_interval, drafts.conditional_acceptance_rate))
    spans = [(span[0], span[1]) if span else None for _, span, _ in depths]
    return {
        "run": name,
        "svg": bars([share or 0.0 for share, _, _ in depths], title="Acceptance by draft position", spans=spans),
        "length": drafts.mean_acceptance_length,
        "rows": [
            {"accepted": _percent(share), "conditional": _percent(conditional),
             "span": "—" if span is None else f"{100 * span[0]:.1f} – {100 * span[1]:.1f}"}
            for (share, _, conditional), span in zip(depths, spans, strict=True)
        ],
    }  # fmt: skip


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.1f} %"


def said_parts(runs: Sequence[ReportRun]) -> list[Row]:
    """What each run's evaluators say beside their metrics, and the curves that their tables by month are."""
    found = []
    for run in runs:
        for evaluator, lines in run.said.items():
            told = list(parts(lines))
            if told:
                found.append({"run": run.name, "evaluator": evaluator, "parts": told, "curves": _curves(told)})
    return found


def _curves(told: Sequence[Block]) -> list[Row]:
    return [
        {"metric": name, "svg": columns(points, title=f"{name} by month")}
        for part in told
        if part.kind == "table"
        for name, points in curves(part)
    ]


def timing_rows(runs: Sequence[ReportRun]) -> list[Row]:
    rows = []
    for key in TIMINGS:
        values = [getattr(run.generation, key) if run.generation else None for run in runs]
        if any(value is not None for value in values):
            rows.append({"label": f"timing_{key}", "cells": ["—" if v is None else f"{v:,}" for v in values]})
    judged = [[s.judged for of in run.samples.values() for s in of if s.judged is not None] for run in runs]
    if any(judged):
        rows.append({"label": "timing_judged", "cells": [f"{sum(of):,.1f}" if of else "—" for of in judged]})
    return rows
