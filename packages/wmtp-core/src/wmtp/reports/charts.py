"""Charts as inline SVG. Everything in them also stands in a table, so a screen reader is given a title only."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, LEFT, ROW = 640, 200, 26
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
            ).format(LEFT - 10, y + 4, label[:30], x(start), x(end), y, y, x(value), y)
        )
    foot = ROW * len(rows) + 14
    for value, anchor in ((low, "start"), ((low + high) / 2, "middle"), (high, "end")):
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="{}">{:.1f}</text>').format(x(value), foot, anchor, 100 * value)
        )
    return _svg(title, foot + 6, parts)


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
