"""Text that a model or another tool wrote, made safe to look at."""

from __future__ import annotations


def printable(text: str, *, kept: str = "\n\t") -> str:
    r"""The same text with every character that shows nothing, `kept` aside, written as Python escapes it.

    A program may hold what moves a terminal's cursor, clears its screen or turns the direction of reading: ``\x1b[2J``.
    """
    if text.isprintable():
        return text
    return "".join(c if c in kept or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    r"""`printable`, without a line's end: a problem called ``a\nb: passed`` would look like two lines of ours."""
    return printable(text, kept="")
