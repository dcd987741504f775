"""Code that nothing marks: among words, or as far as an answer parses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from wmtp.kit import python
from wmtp.kit.preludes import behind
from wmtp.kit.wanted import Extraction, Wanted

START_ATTEMPTS = 8  # so many first lines are tried

CODE_LINE = re.compile(
    r"^[ \t]*(?:import\s+\w|from\s+[\w.]+\s+import\b|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:]|@\w"
    r"|[A-Za-z_][\w.\[\], ]*\s*[-+*/|&^%]?=[^=]|(?:for|while|if|with|try)\b.*:\s*(?:#.*)?$"
    r"|print\s*\(|return\b|[A-Za-z_][\w.]*\()",
    re.M,
)
INDENTED = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]+\S")


def among_words(answer: str, wanted: Wanted) -> Extraction | None:
    """Code between words: from a line that looks like code, as many lines as parse and define what is wanted."""
    best: tuple[int, Extraction] | None = None
    for start, indent in _starts(answer, wanted):
        text = answer[start:]
        if indent:
            text = _dedented(_within(text, indent), indent)
        code = python.longest_prefix(text, lambda tree: fits(tree, wanted))
        if code is None:
            continue
        tree = python.parse(code)
        assert tree is not None
        code, tree = python.without_words(code, tree)
        found = Extraction(
            code=behind(wanted.prompt, wanted.names, code, tree), rule="among words" if start else "longest prefix"
        )
        if wanted.names:
            return found
        if best is None or len(code) > best[0]:
            best = len(code), found
    return best[1] if best else None


def fits(tree: ast.Module, wanted: Wanted) -> bool:
    return python.is_program(tree) and (not wanted.names or python.defines(tree, wanted.names))


def _starts(answer: str, wanted: Wanted) -> Iterator[tuple[int, int]]:
    """(offset of a line, its indentation) where a program may begin, the likeliest first."""
    if not wanted.names:
        for number, match in enumerate(CODE_LINE.finditer(answer)):
            if number >= START_ATTEMPTS:
                return
            yield match.start(), len(match[0]) - len(match[0].lstrip(" \t"))
        return
    names = "|".join(map(re.escape, sorted(wanted.names)))
    lines = [
        *re.finditer(
            rf"^([ \t]*)(?:(?:async[ \t]+)?def[ \t]+(?:{names})\b|class[ \t]+(?:{names})\b|(?:{names})[ \t]*=)",
            answer,
            re.M,
        )
    ]
    for match in lines[: -START_ATTEMPTS - 1 : -1]:
        yield _first_line(answer, match.start(), match[1]), len(match[1].expandtabs(1))


def _first_line(answer: str, start: int, indent: str) -> int:
    """Where the code begins that a definition belongs to: the farthest line of code before it from which all parses."""
    before = [
        m.start()
        for m in CODE_LINE.finditer(answer, max(0, start - 20_000), start)
        if len(m[0]) - len(m[0].lstrip(" \t")) == len(indent) and (m.start() == 0 or answer[m.start() - 1] == "\n")
    ]
    for line in before[:START_ATTEMPTS]:
        code = _dedented(answer[line:start], len(indent))
        # Decorators alone do not parse: a function behind them does.
        if python.parse(code + "def _():\n    pass\n") is not None:
            return line
    return start


def _within(text: str, width: int) -> str:
    """As far as lines are indented by `width` characters or are blank: what is written further left is no part of it."""
    left = re.search(rf"\n(?![ \t]{{{width}}})(?=[ \t]*\S)", text)
    return text[: left.start() + 1] if left else text


def _dedented(text: str, width: int) -> str:
    """Lines without `width` characters of indentation, as far as they have them."""
    if not width:
        return text
    return re.sub(rf"^[ \t]{{1,{width}}}", "", text, flags=re.M)


def prefix(answer: str, wanted: Wanted) -> Extraction | None:
    """As many lines as parse, from the start."""
    if wanted.continues and INDENTED.match(answer):
        code = python.longest_prefix(wanted.prompt + answer, lambda tree: True)
        longer = code is not None and len(code) > len(wanted.prompt) and code[len(wanted.prompt) :].strip()
        return Extraction(code=code, rule="longest prefix") if longer else None
    code = python.longest_prefix(answer, lambda tree: fits(tree, wanted))
    tree = python.parse(code) if code else None
    if not code or tree is None:
        return None
    code, tree = python.without_words(code, tree)
    return Extraction(code=behind(wanted.prompt, wanted.names, code, tree), rule="longest prefix")
