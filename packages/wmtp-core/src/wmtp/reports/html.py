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
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template
from markupsafe import Markup

from wmtp.comparison.compare import compare
from wmtp.comparison.records import Comparison
from wmtp.comparison.table import remarks
from wmtp.errors import ConfigError
from wmtp.reports.charts import visible
from wmtp.reports.labels import LABELS
from wmtp.reports.rundata import ReportRun, ReportSample, read_runs
from wmtp.reports.tables import (
    acceptance_parts,
    comparison_chart,
    comparison_rows,
    metric_rows,
    metrics_chart,
    problem_names,
    problem_rows,
    said_parts,
    shown_name,
    timing_rows,
    trend_rows,
    verdict_rows,
)
from wmtp.runs.folder import write_atomically
from wmtp.runs.reader import Run

FILE = "report.html"
OF_SEVERAL = "compared.html"  # not report.html, which is the page of that run alone
KINDS = ("all", "never", "failed", "solved", "unjudged")
MAX_NAMED_RUNS = 3  # runs that a title names
MOST_TEXT = 32 << 20  # bytes from which on speed of compression counts for more than 5 % of size
MOST_PACKED = 6_800_000  # bytes of gzip a run: in base64, and with the tables of 974 problems, a page stays below 10 MB
LEFT_OUT = (
    "this page has room for the programs of each problem's samples below {kept}, of 0 to {most}; `wmtp compare RUN --show "
    "PROBLEM` prints those of all"
)
PAGE = Path(__file__).parent / "page"


def write_report(
    paths: Sequence[Path],
    to: Path | None = None,
    *,
    despite: Sequence[str] = (),
    found: Comparison | None = None,
    ours: Run | None = None,
) -> Path:
    """Write the page of one run, or of several beside one another. Returns its path.

    Args:
        paths: Folders of finished runs, or files of other tools; the first is what the others are compared with.
        to: The file; by default ``report.html`` in the run's folder, or ``<file>.report.html`` beside a file; of several,
            ``compared.html`` in the last one's folder or ``<file>.compared.html``.
        despite: As for `wmtp.compare`. found: the comparison to show, where it was made already.
        ours: The one run as this process has it, which holds its lock: it has just finished it.

    Raises:
        ConfigError: A folder is no finished run or not whole, a file is none that can be read, or the runs cannot be compared.
    """
    if not paths:
        raise ConfigError("a report needs a run")
    if despite and len(paths) < 2:
        raise ConfigError(f"--despite {despite[0]}: a report of one run compares nothing; leave it out")
    last, name = paths[-1], FILE if len(paths) == 1 else OF_SEVERAL
    path = to or (last / name if last.is_dir() else last.with_name(f"{last.name}.{name}"))
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.absolute().parent}")
    runs = read_runs(paths, ours=ours)
    if found is None and len(paths) > 1:
        found = compare(paths, despite=despite)
    if found is not None:
        for run, named in zip(runs, found.runs, strict=True):
            run.name = named.name
    _write(path, render(runs, found))
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


@cache
def template() -> Template:
    """The page's template, which is ours; everything it is given is escaped, save what `Markup` says is finished."""
    return Environment(autoescape=True, finalize=visible).from_string(
        (PAGE / "page.html.j2").read_text(encoding="utf-8")
    )


def render(runs: Sequence[ReportRun], found: Comparison | None) -> str:
    """Return the page as text."""
    page = template()
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    metrics, names = metric_rows(runs), problem_names(runs)
    numbers = {name: number for number, name in enumerate(names)}
    data, left_out = _data(runs, names)
    notes = [*(remarks(found) if found else ()), *(note for run in runs for note in run.notes), *left_out]
    return page.render(
        title=" · ".join(run.name for run in runs) if len(runs) <= MAX_NAMED_RUNS else f"{len(runs)} runs",
        runs=runs,
        metrics=metrics,
        metrics_chart=metrics_chart(metrics, runs),
        comparisons=comparison_rows(found, numbers),
        comparison_chart=comparison_chart(found),
        trends=trend_rows(found, metrics),
        notes=list(dict.fromkeys(notes)),
        problems=problem_rows(runs, names),
        kinds=(*KINDS, "changed", "gained", "lost") if len(runs) > 1 else KINDS,
        verdicts=verdict_rows(runs),
        acceptance=acceptance_parts(runs),
        said=said_parts(runs),
        timings=timing_rows(runs),
        labels=LABELS,
        labels_json=_json(LABELS),
        runs_json=_json([run.name for run in runs]),
        data=data,
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


def _data(runs: Sequence[ReportRun], names: Sequence[str]) -> tuple[Markup, list[str]]:
    """What is shown of a problem when it is opened, compressed. Later samples keep no program where that is too much."""
    kept = every = max((s.index + 1 for run in runs for of in run.samples.values() for s in of), default=0)
    packed = _packed(runs, names, kept)
    while len(packed) > MOST_PACKED * len(runs) and kept > 1:
        kept = max(1, min(kept - 1, int(kept * MOST_PACKED * len(runs) / len(packed))))
        packed = _packed(runs, names, kept)
    left_out = [LEFT_OUT.format(kept=kept, most=every - 1)] if kept < every else []
    return Markup(base64.b64encode(packed).decode()), left_out


def _packed(runs: Sequence[ReportRun], names: Sequence[str], kept: int) -> bytes:
    """By the problem's number: prompts, values, samples, and programs of those below `kept`; every text once.

    A sample is [index, program or -1, status, detail, tokens, seconds, tests passed, tests, cut, judged, failed]; where its
    completion is shown as well, that one's number follows, and where drafts were made, the heads and the tokens' characters.
    """
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    def row(s: ReportSample) -> list[Any]:
        here = s.index < kept
        written = [number(s.completion)] if s.completion and here else []
        drafts = [s.heads, s.characters] if written and s.heads else []
        return [
            s.index, number(s.code) if here else -1, s.status, s.detail, s.tokens, s.seconds, s.tests_passed, s.tests,
            int(s.cut), s.judged, s.failed, *written, *drafts,
        ]  # fmt: skip

    metrics = list(dict.fromkeys(metric for run in runs for metric in run.values))
    # By problem and not by run: programs of one problem are alike, and compress where they stand close together.
    samples = [[[row(s) for s in run.samples.get(name, ())] for run in runs] for name in names]
    text = json.dumps({
        "names": [shown_name(name) for name in names],
        "samples": samples,
        "programs": list(texts),
        "has_programs": [run.programs for run in runs],
        "prompts": [_prompts(runs, name) for name in names],
        "tests": [{n: text for run in runs for n, text in run.tests.get(name, {}).items()} for name in names],
        "metrics": metrics,
        "values": [[[run.values.get(m, {}).get(name) for m in metrics] for name in names] for run in runs],
    }, separators=(",", ":"))  # fmt: skip
    level = 6 if len(text) <= MOST_TEXT else 4
    return gzip.compress(text.encode(), compresslevel=level, mtime=0)


def _prompts(runs: Sequence[ReportRun], name: str) -> list[tuple[str, list[int]]]:
    """A problem's prompts, each once, with the numbers of the runs that were asked so."""
    found: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        if name in run.prompts:
            found.setdefault(run.prompts[name], []).append(number)
    return list(found.items())
