"""Answers that look like programs from start to end, taken for such before anybody parses them: a judge compiles them anyway,
and one that passes is a program."""

from __future__ import annotations

import re

from wmtp.kit.extraction import trimmed
from wmtp.kit.loose_code import INDENTED
from wmtp.kit.wanted import Extraction, Wanted
from wmtp.kit.wrappers import laid_out, next_turns

_TOP_LINE = re.compile(r"^[^\s#)\]}].*", re.M)
_STATEMENT = re.compile(
    r"(?:(?:async def|def|class|import|from|if|elif|else|for|while|with|try|except|finally|assert|return|raise|del|global)\b"
    r"|pass\b|@|[A-Za-z_](?:[\w.]*\(|[ \w.,\[\]]*[-+*/%&|^]?=(?!=)))[^;]*$"
)
_ELSEWHERE = re.compile(r"import +\*|__future__|\r(?!\n)|[\f\v\x1c-\x1e\x85\u2028\u2029]")
"""Names that come from elsewhere, annotations that nobody reads, ends of lines without a line feed: there what is bound, and
what stands at the margin, is not seen by looking at lines."""


def presumed(text: str, wanted: Wanted) -> Extraction | None:
    """What `extract` finds in an answer if it is Python: all of it, alone or behind the prompt.

    Where it passes its tests, that is so. Where it does not, `extract` has to be asked: it may not parse, or end in words.

    Args:
        text: What the model wrote, of which nothing was thought.
        wanted: What the tests need.

    Returns:
        ``None`` for an answer that looks otherwise: a line that begins no statement, a fence, a made-up turn.
    """
    text = laid_out(trimmed(text, wanted))
    continues = wanted.continues and INDENTED.match(text) is not None
    # What a prompt lends to a whole program hangs on its tree.
    if not continues and (wanted.prompt or not text[:1].strip()):
        return None
    if _ELSEWHERE.search(text) or not all(map(_STATEMENT.match, _TOP_LINE.findall(text))):
        return None
    if next(next_turns(text), None) is not None:
        return None
    if continues:
        again = any(re.search(rf"\bdef\s+{re.escape(name)}\b", text) for name in wanted.names)
        return None if again else Extraction(code=wanted.prompt + text, rule="continuation")
    return Extraction(code=text, rule="whole") if not wanted.names or _defines(text, wanted) else None


def _defines(text: str, wanted: Wanted) -> bool:
    """Whether a function of a name that is wanted begins at the margin, and in no string."""
    for name in wanted.names:
        start = f"def {name}"
        at = text.find(start)
        begins = at >= 0 and text[at - 1 : at] in ("", "\n") and text[at + len(start) :].lstrip(" ")[:1] == "("
        if begins and not any(mark in text[:at] for mark in ('"""', "'''")):
            return True
    return False
