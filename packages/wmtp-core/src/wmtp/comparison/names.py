"""Names that others chose, in lines of text."""

from __future__ import annotations


def one_line(text: str) -> str:
    r"""The same text with what shows nothing, ends a line or turns the direction of reading written as Python escapes it.

    A problem or run may be called ``a\nb: passed``, which would look like two lines of ours.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
