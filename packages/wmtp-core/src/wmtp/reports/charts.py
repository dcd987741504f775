"""Charts as inline SVG. Everything in them also stands in a table, so a screen reader is given a title only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH, LEFT, ROW = 640, 200, 26
HEIGHT = 180  # of a chart of columns, less its labels
LONGEST = 270  # a bar of 1, with room for its label


def intervals(rows: Sequence[tuple[str, float, float, float]], *, title: str, zero: bool = False) -> Markup:
    """Points with their intervals, one row each: (label, value, low, high). zero: draw a line there (for differences)."""
    if not rows:
        return Markup("")
    low, high = min(r[2] for r in rows), max(r[3] for r in rows)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low or 1.0) * 0.06
    low, high = low - room, high + room

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - 12), 1)

    parts = []
    if zero:
        parts.append(Markup('<line class="zero" x1="{0}" x2="{0}" y1="4" y2="{1}"/>').format(x(0), ROW * len(rows)))
    for number, (label, value, start, end) in enumerate(rows):
        y = ROW * number + ROW // 2
        parts.append(
            Markup(
                '<text x="{}" y="{}" text-anchor="end">{}</text><line class="bar" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<circle cx="{}" cy="{}" r="4.5"/>'
            ).format(LEFT - 10, y + 4, cut(label, 28), x(start), x(end), y, y, x(value), y)
        )
    foot = ROW * len(rows) + 14
    for value in ticks(low, high):
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(x(value), foot, _percent(value))
        )
    return _svg(title, foot + 6, parts)


def columns(points: Sequence[tuple[str, float, float, float]], *, title: str) -> Markup:
    """Shares in their order from left to right, joined by a line, with intervals: (label, value, low, high)."""
    low, high = min(p[2] for p in points), max(p[3] for p in points)
    step = (WIDTH - 80) / len(points)
    places = [round(60 + step * (i + 0.5), 1) for i in range(len(points))]

    def y(value: float) -> float:
        return round(12 + (high - value) / (high - low or 1.0) * (HEIGHT - 24), 1)

    parts = []
    for value in ticks(low, high):
        parts.append(
            Markup(
                '<text x="48" y="{}" text-anchor="end">{}</text><line class="grid" x1="56" x2="{}" y1="{y}" y2="{y}"/>'
            ).format(y(value) + 4, _percent(value), WIDTH, y=y(value))
        )
    line = " ".join(f"{x},{y(p[1])}" for x, p in zip(places, points, strict=True))
    parts.append(Markup('<polyline class="trend" points="{}"/>').format(line))
    most = max(8, int(step / 7))  # characters of a label that fit; where there are many points, not each has one
    every = math.ceil(7 * min(most, max(len(p[0]) for p in points)) / step)
    for number, (x, (label, value, start, end)) in enumerate(zip(places, points, strict=True)):
        parts.append(
            Markup(
                '<line class="bar" x1="{x}" x2="{x}" y1="{}" y2="{}"/><circle cx="{x}" cy="{}" r="4.5"/>'
                '<text x="{x}" y="{}" text-anchor="middle">{}</text>'
            ).format(y(start), y(end), y(value), HEIGHT + 14, "" if number % every else cut(label, most), x=x)
        )
    return _svg(title, HEIGHT + 22, parts)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between `low` and `high`, two to six of them where the span allows it."""
    span = max(high - low, 1e-9)
    step = next(
        s for s in (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, span) if span / s <= 6
    )
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def visible(value: Any) -> Any:
    """Text in which characters that show nothing or turn the direction of reading are escapes; all else as it is.

    Template values pass through here: what is `Markup` is finished and stays.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(c if c.isprintable() or c in "\n\t" else _escape(ord(c)) for c in value)


def _escape(code: int) -> str:
    """As the page's script writes it."""
    return f"\\u{code:04x}" if code < 0x10000 else f"\\u{{{code:x}}}"


def short_names(names: Sequence[str], most: int) -> list[str]:
    """Names that fit a chart: where one is too long, what all begin and end with goes, up to a mark between words."""
    names = [visible(name) for name in names]
    if len(names) < 2 or all(len(name) <= most for name in names):
        return list(names)
    start = _alike(names)
    end = _alike([name[start:][::-1] for name in names])
    while start and names[0][start - 1].isalnum():
        start -= 1
    while end and names[0][-end].isalnum():
        end -= 1
    first, last = "…" if start else "", "…" if end else ""
    return [first + name[start : len(name) - end] + last for name in names]


def _alike(names: Sequence[str]) -> int:
    """How many characters all begin with."""
    letters = enumerate(zip(*names, strict=False))
    return next((i for i, of in letters if len(set(of)) > 1), min(map(len, names)))


def cut(label: str, most: int) -> str:
    """A label that fits: its end is what tells checkpoints apart, so its beginning goes."""
    label = visible(label)
    return label if len(label) <= most else "…" + label[-(most - 1) :]


def _percent(value: float) -> str:
    return f"{100 * value:.3f}".rstrip("0").rstrip(".") + " %"


def bars(values: Sequence[float], *, title: str, spans: Sequence[tuple[float, float] | None] = ()) -> Markup:
    """Shares of 1 as bars, labelled 1, 2, 3 …, with their intervals where there are any."""
    parts = []
    for i, value in enumerate(values):
        span = spans[i] if i < len(spans) else None
        label = f"{100 * value:.1f} %" + ("" if span is None else f" ({100 * span[0]:.1f} – {100 * span[1]:.1f})")
        end = max(value, span[1] if span else 0.0)
        parts.append(
            Markup(
                '<text x="{}" y="{}" text-anchor="end">{}</text><rect x="{}" y="{}" width="{}" height="14"/>'
                '<text x="{}" y="{}">{}</text>'
            ).format(
                LEFT - 10, ROW * i + 17, i + 1, LEFT, ROW * i + 6, round(max(value, 0.002) * LONGEST, 1),
                LEFT + round(end * LONGEST, 1) + 8, ROW * i + 17, label,
            )
        )  # fmt: skip
        if span is not None:
            low, high = (LEFT + round(s * LONGEST, 1) for s in span)
            parts.append(
                Markup('<line class="whisker" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(low, high, y=ROW * i + 13)
            )
    return _svg(title, ROW * len(values) + 4, parts)


def _svg(title: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        escape(title), WIDTH, height, Markup("").join(parts)
    )
