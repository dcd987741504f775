"""What evaluators say in Markdown, as parts that a page can show: the forms that our own say it in, all else as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from wmtp.statistics.intervals import share_limits

MONTH = re.compile(r"\d{4}-\d\d")
SHARE = re.compile(r"(\d+(?:\.\d+)?) %(?: \((\d+(?:\.\d+)?) [–-] (\d+(?:\.\d+)?)\))?")
Point = tuple[str, float, float, float]


@attrs.frozen(kw_only=True)
class Block:
    """One part: a paragraph, a heading, a program, or a table.

    Attributes:
        kind: ``p``, ``h``, ``pre``, ``li`` or ``table``.
        text: Of all but a table. head, rows: Of a table.
    """

    kind: str
    text: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def parts(lines: Sequence[str]) -> Iterator[Block]:
    """Yield the parts of these lines."""
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("```")), len(lines))
            yield Block(kind="pre", text="\n".join(lines[at + 1 : end]))
            at = end + 1
        elif line.startswith("|") and at + 1 < len(lines) and lines[at + 1].startswith("|") and "---" in lines[at + 1]:
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("|")), len(lines))
            head, rows = _cells(line), tuple(_cells(row) for row in lines[at + 2 : end])
            yield Block(kind="table", head=head, rows=tuple((*row, *[""] * len(head))[: len(head)] for row in rows))
            at = end
        else:
            at += 1
            if line.startswith("#"):
                yield Block(kind="h", text=line.lstrip("# "))
            elif line.startswith("- "):
                yield Block(kind="li", text=line[2:])
            elif line.strip():
                yield Block(kind="p", text=line)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().strip("`") for cell in line.strip().strip("|").split("|"))


def curves(table: Block) -> Iterator[tuple[str, list[Point]]]:
    """Yield (column, points) of each column of shares in a table of months.

    Where the table says how many problems a month has, and no intervals, a point's is the widest that so many problems can
    have: as if each had passed or failed as a whole.
    """
    if len(table.rows) < 2 or not all(MONTH.fullmatch(row[0]) for row in table.rows):
        return
    counts = table.head.index("problems") if "problems" in table.head else 0
    for column, name in enumerate(table.head):
        points = [_point(row[0], row[column], row[counts]) for row in table.rows]
        found = [point for point in points if point is not None]
        if column and len(found) == len(points):
            yield name, found


def _point(month: str, cell: str, problems: str) -> Point | None:
    match = SHARE.fullmatch(cell)
    if match is None:
        return None
    value, low, high = (None if text is None else float(text) / 100 for text in match.groups())
    assert value is not None, "the expression has it"
    if low is not None and high is not None:
        return month, value, low, high
    if not problems.isdecimal() or not int(problems) or value > 1:
        return month, value, value, value
    limits = share_limits(value, value * (1 - value), int(problems))
    return month, value, float(limits[0]), float(limits[1])
