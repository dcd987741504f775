"""Text that a model wrote, made safe to look at."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The same text with every character that shows nothing, newline and tab aside, written as Python escapes it.

    A program may hold what moves a terminal's cursor, clears its screen or turns the direction of reading: ``\x1b[2J``.
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
