"""What evaluators say in Markdown, as parts that a page can show: the forms that our own say it in, all else as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

MONTH = re.compile(r"\d{4}-\d\d")
SHARE = re.compile(r"([\d.]+) %(?: \(([\d.]+) [–-] ([\d.]+)\))?")


@attrs.frozen(kw_only=True)
class Part:
    """One part: a paragraph, a heading, a program, or a table.

    Attributes:
        kind: ``p``, ``h``, ``pre``, ``li`` or ``table``.
        text: Of all but a table. head, rows: Of a table.
    """

    kind: str
    text: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def parts(lines: Sequence[str]) -> Iterator[Part]:
    """Yield the parts of these lines."""
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("```")), len(lines))
            yield Part(kind="pre", text="\n".join(lines[at + 1 : end]))
            at = end + 1
        elif line.startswith("|") and at + 1 < len(lines) and lines[at + 1].startswith("|") and "---" in lines[at + 1]:
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("|")), len(lines))
            head, rows = _cells(line), tuple(_cells(row) for row in lines[at + 2 : end])
            yield Part(kind="table", head=head, rows=tuple((*row, *[""] * len(head))[: len(head)] for row in rows))
            at = end
        else:
            at += 1
            if line.startswith("#"):
                yield Part(kind="h", text=line.lstrip("# "))
            elif line.startswith("- "):
                yield Part(kind="li", text=line[2:])
            elif line.strip():
                yield Part(kind="p", text=line)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().strip("`") for cell in line.strip().strip("|").split("|"))


def curves(table: Part) -> Iterator[tuple[str, list[tuple[str, float, float, float]]]]:
    """Yield (column, points) of each column of shares in a table of months; a point is (month, value, low, high)."""
    if len(table.rows) < 2 or not all(MONTH.fullmatch(row[0]) for row in table.rows):
        return
    for column, name in enumerate(table.head):
        found = [(row[0], SHARE.fullmatch(row[column])) for row in table.rows]
        points = [(month, *_shares(match)) for month, match in found if match is not None]
        if column and len(points) == len(found):
            yield name, points


def _shares(match: re.Match[str]) -> tuple[float, float, float]:
    value, low, high = (None if text is None else float(text) / 100 for text in match.groups())
    assert value is not None, "the expression has it"
    return value, value if low is None else low, value if high is None else high
