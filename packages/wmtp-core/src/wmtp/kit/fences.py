"""Fenced blocks of an answer, in time that grows with its length and no faster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import attrs

from wmtp.kit.loose_code import CODE_LINE
from wmtp.kit.python import is_program, parse

PYTHON = frozenset({"python", "python3", "py", "py3", "python2", "ipython", "pycon", "sage", "cython"})
OTHER = frozenset(
    [
        "bash",
        "sh",
        "shell",
        "zsh",
        "console",
        "terminal",
        "cmd",
        "powershell",
        "text",
        "txt",
        "plain",
        "plaintext",
        "output",
        "input",
        "json",
        "yaml",
        "yml",
        "toml",
        "xml",
        "html",
        "css",
        "javascript",
        "js",
        "typescript",
        "ts",
        "java",
        "c",
        "cpp",
        "c++",
        "csharp",
        "cs",
        "go",
        "rust",
        "ruby",
        "php",
        "sql",
        "r",
        "julia",
        "kotlin",
        "swift",
        "scala",
        "perl",
        "lua",
        "diff",
        "markdown",
        "md",
        "latex",
        "tex",
        "math",
        "csv",
        "ini",
        "makefile",
        "dockerfile",
    ]
)
STRING_ATTEMPTS = 16

_AT_START = re.compile(
    r"(?P<lead>[ \t]*(?:>[ \t]?)*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?)(?P<mark>`{3,}|~{3,})(?P<info>.*)\Z", re.S
)
_BEHIND_WORDS = re.compile(r"(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[\w+#.{}-]*)[ \t\r]*\Z")
_AT_END = re.compile(r"(?P<mark>`{3,}|~{3,})[ \t\r]*\Z")
_LANGUAGE = re.compile(r"[\s{.]*([\w+#-]*)")
_ATTRIBUTE = re.compile(  # what stands behind the language and is no code: what the block is called, how its lines are shown
    r"[{}:,;(]|(?:title|caption|label|file|filename|filepath|path|name|id|class|lines?|linenums|startline|start|hl_lines|highlight"
    r"|showLineNumbers|copy|lineno\w*)\b(?:=\S|[ \t]*$)"
)
_LEXED = re.compile(
    r"#[^\n]*|\"\"\"|'''|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?",
    re.S,
)


@attrs.frozen(kw_only=True)
class Block:
    """A fenced block.

    Attributes:
        language: the first word behind the opening fence, in lower case; ``""`` if there is none.
        text: what stands between the fences, indentation of the fence and quotation marks taken off.
        start, end: offsets in the answer of what stands between.
        closed: whether a closing fence follows.
    """

    language: str
    text: str
    start: int
    end: int
    closed: bool

    @property
    def python(self) -> bool:
        """Whether the block says that it is Python."""
        return self.language in PYTHON


@attrs.define
class _Open:
    mark: str
    language: str
    lead: str
    start: int


def _language(info: str) -> str:
    match = _LANGUAGE.match(info) if info else None
    return match[1].lower() if match else ""


def _fence_lines(text: str) -> Iterator[tuple[int, int, int]]:
    """(start, end without its end of line, start of the next) of every line that holds a fence."""
    ticks, tildes, position = text.find("```"), text.find("~~~"), 0
    while ticks >= 0 or tildes >= 0:
        found = min(ticks, tildes) if ticks >= 0 and tildes >= 0 else max(ticks, tildes)
        start = text.rfind("\n", position, found) + 1 or position
        end = text.find("\n", found)
        end = len(text) if end < 0 else end
        yield start, end, end + 1
        position = end + 1
        if 0 <= ticks < position:
            ticks = text.find("```", position)
        if 0 <= tildes < position:
            tildes = text.find("~~~", position)


def first_fence(text: str) -> tuple[int, str] | None:
    """Where the first line that begins with a fence starts, and its language; ``None`` if there is none."""
    for start, end, _ in _fence_lines(text):
        if match := _AT_START.match(text[start:end]):
            return start, _language(match["info"])
    return None


class _Strings:
    """Tells whether a place of a block lies in a string of three quotes. Looks at each part of a block once.

    Attributes:
        attempts: how often a string was tried as one that holds fences. accepted: where the last that did ends.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = self._inside_until = 0
        self.attempts = self.accepted = 0

    def begin(self, position: int) -> None:
        self._position = self._inside_until = position

    def end_of_string(self, place: int) -> int | None:
        """Where the string ends that `place` lies in; ``None`` if it lies in none, or in one without an end."""
        find, position = self._text.find, self._position
        if position < place and find('"""', position, place) < 0 and find("'''", position, place) < 0:
            self._position = place  # a search of literals is many times faster than the expression
        while self._position < place:
            match = _LEXED.search(self._text, self._position, place)
            if match is None:
                self._position = place
                break
            if match[0] in ('"""', "'''"):
                end = self._closing(match[0], match.end())
                if end is None:
                    return None
                self._position = self._inside_until = end
            else:
                self._position = match.end()
        return self._inside_until if self._inside_until > place else None

    def _closing(self, quotes: str, position: int) -> int | None:
        while (at := self._text.find(quotes, position)) >= 0:
            backslashes = 0
            while at - backslashes > position and self._text[at - backslashes - 1] == "\\":
                backslashes += 1
            if backslashes % 2 == 0:
                return at + 3
            position = at + 1
        return None


@lru_cache(maxsize=4)  # one answer is looked at by several rules
def blocks(text: str) -> tuple[Block, ...]:
    """The fenced blocks of an answer, in order.

    Fences are three or more backticks or tildes: at the start of a line, behind indentation, a quotation mark or the mark
    of a list; behind words; at the end of a line of code; around code on one line. A fence in a docstring of the block ends
    nothing, as long as what the other fences enclose is Python. A fence that names a language opens a new block.
    """
    found: list[Block] = []
    current: _Open | None = None
    strings = _Strings(text)
    for start, end, following in _fence_lines(text):
        line = text[start:end]
        if current is None:
            current = _opening(line, following, found, start)
            if current is not None:
                strings.begin(current.start)
            continue
        if start < current.start:
            continue
        closing = _closing(line, current)
        if closing is None or _in_string(text, current, start, strings):
            continue
        at, language = closing
        found.append(_block(text, current, start + at, closed=True))
        current = None
        if language is not None:
            current = _opening(line, following, found, start)
            if current is not None:
                strings.begin(current.start)
    if current is not None:
        found.append(_block(text, current, len(text), closed=False))
    return tuple(found)


def _opening(line: str, following: int, found: list[Block], start: int) -> _Open | None:
    match = _AT_START.match(line)
    if match:
        mark, info = match["mark"], match["info"]
        if mark[:3] in info:  # all on one line
            inside = info[: info.index(mark[:3])]
            first, _, rest = inside.strip().partition(" ")
            language = first.lower() if first.lower() in PYTHON | OTHER else ""
            code = rest if language else inside.strip()
            if code:
                offset = start + len(match["lead"]) + len(mark)
                found.append(
                    Block(language=language, text=code + "\n", start=offset, end=offset + len(inside), closed=True)
                )
            return None
        language = _language(info)
        if language in PYTHON and (code := info.strip()[len(language) :].strip()) and _is_code(code):
            return _Open(
                mark, language, match["lead"], following - 1 - len(code)
            )  # the code begins on the fence's line
        return _Open(mark, language, match["lead"], following)
    words = _BEHIND_WORDS.search(line)
    if words and line.count(words["mark"][:3]) % 2:
        return _Open(words["mark"], _language(words["info"]), "", following)
    return None


def _is_code(info: str) -> bool:
    """Whether what stands behind the language begins the program. A name of a file, a title, an attribute do not."""
    if _ATTRIBUTE.match(info):
        return False
    tree = parse(info)
    return bool(CODE_LINE.match(info)) if tree is None else is_program(tree) or info[0] in "#\"'"


def _closing(line: str, current: _Open) -> tuple[int, str | None] | None:
    """Where in the line the block ends, and the language of a block that begins there; ``None`` if it goes on."""
    match = _AT_START.match(line)
    if match:
        mark, info = match["mark"], match["info"].strip()
        if mark[0] != current.mark[0] or len(mark) < len(current.mark):
            return None
        language = _language(info)
        if info and language in PYTHON | OTHER:
            return 0, language
        return 0, None
    match = _AT_END.search(line)
    if match and match["mark"] == current.mark and match.start() and line.count(current.mark) % 2:
        return match.start(), None
    return None


def _in_string(text: str, current: _Open, place: int, strings: _Strings) -> bool:
    """Whether a fence lies in a docstring of the block. The strings must end before a fence that closes Python."""
    if place < strings.accepted:
        return True
    if current.language in OTHER or strings.attempts >= STRING_ATTEMPTS:
        return False
    end = strings.end_of_string(place)
    if end is None:
        return False
    strings.attempts += 1
    after = next((line for line in _fence_lines_from(text, end)), len(text))
    good = parse(_stripped(text[current.start : after], current.lead)) is not None
    if good:
        strings.accepted = end
    return good


def _fence_lines_from(text: str, position: int) -> Iterator[int]:
    """Where lines begin that start with a fence, behind a position."""
    line = text.find("\n", position) + 1
    for start, end, _ in _fence_lines(text[line:]) if line else ():
        if _AT_START.match(text[line + start : line + end]):
            yield line + start
            return


def _block(text: str, current: _Open, end: int, *, closed: bool) -> Block:
    return Block(
        language=current.language,
        text=_stripped(text[current.start : end], current.lead),
        start=current.start,
        end=end,
        closed=closed,
    )


def _stripped(code: str, lead: str) -> str:
    """Without the indentation of the fence, its quotation marks, and the width of its list mark."""
    if not lead:
        return code
    quoted = lead.count(">")
    width = 0 if quoted else len(lead.expandtabs(4))
    lines = code.splitlines(keepends=True)
    for number, line in enumerate(lines):
        for _ in range(quoted):
            line = (
                line.lstrip(" \t").removeprefix(">").removeprefix(" ") if line.lstrip(" \t").startswith(">") else line
            )
        lines[number] = line
    if all(line[:width].isspace() or not line.strip() for line in lines):
        lines = [line[min(width, len(line) - len(line.lstrip(" \t"))) :] for line in lines]
    return "".join(lines)
