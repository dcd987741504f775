"""``report.html``: one file that opens from disk, without a server and without the network.

The page is complete without its script, less the programs: tables and charts are written out. The programs of all samples come
once each, as gzip in base64, and the script shows those of a problem when it is opened. A strict Content-Security-Policy names
the one script and the one style sheet by their hashes, so nothing that a model wrote can run; all of it is set as text.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from wmtp.comparison.compare import compare
from wmtp.comparison.records import Comparison, MetricComparison
from wmtp.comparison.table import amount, p_value, remarks, signed
from wmtp.errors import ConfigError
from wmtp.reports.charts import bars, columns, intervals
from wmtp.reports.labels import LABELS
from wmtp.reports.rundata import ReportRun, ReportSample, read_run
from wmtp.runs.folder import write_atomically

FILE = "report.html"
KINDS = ("all", "never", "failed", "solved")
PAGE = Path(__file__).parent / "page"
TIMINGS = ("samples", "tokens", "truncated", "tokens_per_second", "tokens_per_forward", "seconds")


def write_report(
    folders: Sequence[Path],
    to: Path | None = None,
    *,
    despite: Sequence[str] = (),
    found: Comparison | None = None,
    ours: bool = False,
) -> Path:
    """Write the page of one run, or of several beside one another. Returns its path.

    Args:
        folders: Folders of finished runs; the first is what the others are compared with.
        to: The file; by default ``report.html`` in the last run's folder.
        despite: As for `wmtp.compare`. found: the comparison to show, where it was made already.
        ours: This process holds the lock of the one folder: it has just finished the run.

    Raises:
        ConfigError: A folder is no finished run, or the runs cannot be compared.
    """
    if not folders:
        raise ConfigError("a report needs a run")
    runs = [read_run(folder, ours=ours) for folder in folders]
    if found is None and len(folders) > 1:
        found = compare(folders, despite=despite)
    if found is not None:
        for run, named in zip(runs, found.runs, strict=True):
            run.name = named.name
    path = to or folders[-1] / FILE
    text = render(runs, found)
    _write(path, text)
    return path


def _write(path: Path, text: str) -> None:
    """The whole page or none: a disk that fills up leaves no half of one. Whatever goes wrong names the file."""
    if path.is_file() or not path.exists():
        write_atomically(path, text)
        return
    try:  # a device or a pipe: nothing to put in its place
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        error.filename = str(path)
        raise


def render(runs: Sequence[ReportRun], found: Comparison | None) -> str:
    """Return the page as text."""
    # The template is ours; everything it is given is escaped, save what `Markup` says is finished.
    page = Environment(autoescape=True).from_string((PAGE / "page.html.j2").read_text(encoding="utf-8"))
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    every = [row for run in runs for row in _metrics(run)]
    metrics = [row for name in names for row in every if row["metric"] == name]
    shares = [(_label(m, runs), m["raw"], m["low"], m["high"]) for m in metrics if m["share"]]
    return page.render(
        title=" · ".join(run.name for run in runs),
        runs=runs,
        metrics=metrics,
        metrics_chart=intervals(shares, title="Metrics with their 95 % intervals"),
        comparisons=_comparisons(found),
        comparison_chart=_differences(found),
        trends=_trends(found, metrics),
        notes=[*(remarks(found) if found else ()), *(note for run in runs for note in run.notes)],
        problems=_problems(runs),
        kinds=(*KINDS, "changed", "gained", "lost") if len(runs) > 1 else KINDS,
        verdicts=[
            {"run": run.name, "status": status, "count": count}
            for run in runs
            for status, count in Counter(s.status for of in run.samples.values() for s in of).most_common()
        ],
        acceptance=[
            {
                "run": run.name,
                "svg": bars(run.acceptance, title="Acceptance by draft position", spans=run.acceptance_intervals),
            }
            for run in runs
            if run.acceptance
        ],
        timings=_timings(runs),
        labels=LABELS,
        labels_json=_json(LABELS),
        runs_json=_json([run.name for run in runs]),
        data=_data(runs),
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> Markup:
    """JSON that ends no script element: `<`, `>` and `&` are written as escapes."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _data(runs: Sequence[ReportRun]) -> str:
    """Every text once, and by run and problem the samples: [program, status, detail, tokens, seconds, …].

    Where drafts were made, three more follow: the completion's number, the heads, and the tokens' characters.
    """
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    def row(s: ReportSample) -> list[Any]:
        drafts = [number(s.completion), s.heads, s.characters] if s.heads else []
        return [number(s.code), s.status, s.detail, s.tokens, s.seconds, *drafts]

    samples = [{problem: [row(s) for s in of] for problem, of in run.samples.items()} for run in runs]
    prompts = {problem: text for run in runs for problem, text in run.prompts.items()}
    text = json.dumps({"programs": list(texts), "samples": samples, "prompts": prompts}, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def _metrics(run: ReportRun) -> list[dict[str, Any]]:
    rows = []
    for name, metric in run.metrics.items():
        value, low, high, unit = metric.value, metric.low, metric.high, metric.unit
        span = "—"
        share = not unit and all(0 <= v <= 1 for v in (value, low, high) if v is not None)
        if low is not None and high is not None:
            span = f"{100 * low:.1f} – {100 * high:.1f}" if share else f"{low:.3f} – {high:.3f}"
        rows.append({
            "metric": name, "run": run.name, "raw": value, "low": low, "high": high,
            "value": "—" if value is None else amount(value, unit, share=share), "span": span,
            "problems": metric.problems, "samples": metric.samples,
            "share": share and value is not None and low is not None,
        })  # fmt: skip
    return rows


def _label(metric: Mapping[str, Any], runs: Sequence[ReportRun]) -> str:
    return f"{metric['metric']} · {metric['run']}" if len(runs) > 1 else str(metric["metric"])


def _comparisons(found: Comparison | None) -> list[dict[str, Any]]:
    return [
        {
            "metric": c.metric, "run": c.b, "verdict": c.verdict, "difference": _signed(c, c.found.difference),
            "span": f"{_signed(c, c.found.low)} – {_signed(c, c.found.high)}",
            "these": "—" if c.found.within is None else f"{_signed(c, c.found.these_low)} – {_signed(c, c.found.these_high)}",
            "p": p_value(c.found.p_value), "holm": p_value(c.p_holm), "gained": c.gained, "lost": c.lost,
        }
        for c in (found.comparisons if found else ())
    ]  # fmt: skip


def _signed(one: MetricComparison, value: float) -> str:
    return signed(value, one.unit, share=one.share)


def _differences(found: Comparison | None) -> Markup:
    rows = [
        (f"{c.metric} · {c.b}", c.found.difference, c.found.low, c.found.high)
        for c in (found.comparisons if found else ())
        if c.share
    ]
    return intervals(rows, title="Differences with their 95 % intervals", zero=True)


def _trends(found: Comparison | None, metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each metric over three runs or more in their order, with the runs' own intervals."""
    rows = []
    for trend in found.trends if found else ():
        one = next(c for c in found.comparisons if c.metric == trend.metric) if found else None
        assert one is not None, "a trend is of metrics that were compared"
        of = {m["run"]: m for m in metrics if m["metric"] == trend.metric and m["share"]}
        points = [(run, of[run]["raw"], of[run]["low"], of[run]["high"]) for run in trend.runs if run in of]
        rows.append({
            "metric": trend.metric, "slope": _signed(one, trend.slope), "p": p_value(trend.p_value),
            "span": f"{_signed(one, trend.low)} – {_signed(one, trend.high)}",
            "values": [amount(v, one.unit, share=one.share) for v in trend.values],
            "svg": columns(points, title=f"{trend.metric} over {len(points)} runs") if len(points) > 2 else "",
        })  # fmt: skip
    return rows


def _problems(runs: Sequence[ReportRun]) -> list[dict[str, Any]]:
    """A row for each problem that any run has, in the first run's order."""
    names = dict.fromkeys(problem for run in runs for problem in run.samples)
    rows = []
    for name in names:
        of = [run.samples.get(name, []) for run in runs]
        shares = [sum(s.status == "passed" for s in samples) / len(samples) if samples else None for samples in of]
        known = [share for share in shares if share is not None]
        kinds = [k for k, holds in (
            ("never", not any(known)), ("failed", any(s < 1 for s in known)), ("solved", all(s == 1 for s in known)),
            ("changed", len(set(known)) > 1),
            ("gained", len(known) > 1 and known[0] < 0.5 <= known[-1]),
            ("lost", len(known) > 1 and known[-1] < 0.5 <= known[0]),
        ) if holds]  # fmt: skip
        tokens = [s.tokens for samples in of for s in samples]
        change = known[-1] - known[0] if len(known) > 1 else 0.0
        rows.append({
            "name": name, "shown": _visible(name), "kinds": " ".join(kinds),
            "cells": [
                {"share": -1 if share is None else round(share, 6),
                 "text": "—" if share is None else f"{sum(s.status == 'passed' for s in samples)} / {len(samples)}"}
                for share, samples in zip(shares, of, strict=True)
            ],
            "difference": round(change, 6), "difference_text": f"{100 * change:+.0f}" if len(known) > 1 else "—",
            "tokens": round(sum(tokens) / len(tokens)) if tokens else 0,
        })  # fmt: skip
    return rows


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _timings(runs: Sequence[ReportRun]) -> list[dict[str, Any]]:
    rows = []
    for key in TIMINGS:
        values = [getattr(run.generation, key) for run in runs]
        if any(value is not None for value in values):
            rows.append({"label": f"timing_{key}", "cells": ["—" if v is None else f"{v:,}" for v in values]})
    return rows
