"""``training.html`` of a run: the loss of every head, and checkpoints' scores with intervals. One file, no script."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wmtp_train.folder import TrainingFolder, write_text
from wmtp_train.journal import read_journal

if TYPE_CHECKING:
    from wmtp_train.judging import Evaluated

WIDTH, HEIGHT, MARGIN = 720, 260, 44
COLOURS = ("#0b63c4", "#b3470b", "#2f7d32", "#7a3db8", "#a3195b", "#00707a", "#6b5b00", "#444444")
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #bbb}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
)
Series = dict[str, list[tuple[int, float]]]


def write_report(run: Path, evaluated: Sequence[Evaluated]) -> Path:
    """Writes the page. Returns where it is."""
    series = _series(TrainingFolder(run).journal)
    heads = {name: line for name, line in series.items() if name.startswith("train/ce_head_")}
    parts = [
        f"<h1>Training {html.escape(run.name)}</h1>",
        _scores(evaluated),
        _section("Loss by head, in nats a token", _curves(heads)),
        _heads(heads),
        _section("Validation loss", _curves({n: line for n, line in series.items() if n == "eval/loss"})),
        _section(
            "Standard deviation of token weights", _curves({n: s for n, s in series.items() if n == "weight/std"})
        ),
    ]
    title = html.escape(f"Training {run.name}")
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )
    path = run / "training.html"
    write_text(path, page)
    return path


def _series(journal: Path) -> Series:
    found: Series = {}
    for step, _, values in read_journal(journal):
        for name, value in values.items():
            found.setdefault(name, []).append((step, value))
    return found


def _section(title: str, body: str) -> str:
    return f"<h2>{html.escape(title)}</h2>{body}" if body else ""


def _scores(evaluated: Sequence[Evaluated]) -> str:
    """A line a checkpoint; the first is the model before training."""
    from wmtp_train.judging import shown

    if not evaluated:
        return ""
    names = list(evaluated[0].record.metrics)
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><td>{one.step}</td>"
        + "".join(f"<td>{html.escape(shown(one.record.metrics[name]))}</td>" for name in names)
        + "</tr>"
        for one in evaluated
    )
    table = f"<table><thead><tr><th scope=col>step</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _section("Scores of checkpoints, with 95 % intervals", table)


def _heads(heads: Series) -> str:
    """First and last loss of every head."""
    if not heads:
        return ""
    rows = "".join(
        f"<tr><td>head {name.rsplit('_', 1)[1]}</td><td>{line[0][1]:.4f}</td><td>{line[-1][1]:.4f}</td></tr>"
        for name, line in sorted(heads.items())
    )
    head = "<thead><tr><th scope=col>head</th><th scope=col>first step</th><th scope=col>last step</th></tr></thead>"
    return f"<table>{head}<tbody>{rows}</tbody></table>"


def _curves(series: Series) -> str:
    """Lines over steps, each named at its end."""
    points = [point for line in series.values() for point in line]
    if len(points) < 2:
        return ""
    steps, values = [p[0] for p in points], [p[1] for p in points]
    left, right, low, high = min(steps), max(steps), min(values), max(values)

    def place(step: float, value: float) -> str:
        x = MARGIN + (WIDTH - 2 * MARGIN - 60) * (step - left) / max(right - left, 1)
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - low) / max(high - low, 1e-12)
        return f"{x:.1f},{y:.1f}"

    drawn = []
    for number, (name, line) in enumerate(sorted(series.items())):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(place(step, value) for step, value in line)
        x, y = place(*line[-1]).split(",")
        label = html.escape(name.rsplit("/", 1)[1].replace("ce_", "").replace("_", " "))
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>')
        drawn.append(f'<text x="{float(x) + 4:.1f}" y="{y}" fill="{colour}" font-size="12">{label}</text>')
    axis = (
        f'<text x="4" y="{MARGIN}" font-size="12">{high:.3g}</text>'
        f'<text x="4" y="{HEIGHT - MARGIN}" font-size="12">{low:.3g}</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 12}" font-size="12">step {left}</text>'
        f'<text x="{WIDTH - MARGIN - 110}" y="{HEIGHT - 12}" font-size="12">step {right}</text>'
    )
    label = f"{', '.join(sorted(series))} from {low:.3g} to {high:.3g} over steps {left} to {right}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">{axis}{"".join(drawn)}</svg>'
    )
