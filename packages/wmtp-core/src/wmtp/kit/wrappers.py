"""Answers in wrappers that are no fences: special tokens as text, tags, tool calls, prompts of an interpreter."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator
from typing import Any

from wmtp.kit import python

_ENDS = re.compile(  # it begins with one character, at whose speed it is searched for
    r"<(?:\|(?:im_end|endoftext|end_of_text|eot_id|eom_id|EOT|end|return|user|endofturn|end_of_turn|file_separator|fim_pad|call"
    r"|EOS|END_OF_TURN_TOKEN|END_RESPONSE|im_start|start_header_id)\|>|｜(?:end▁of▁sentence|User|Assistant)｜>|end_of_turn>"
    r"|start_of_turn>|eos>|/s>|EOD>|turn\|>)"
)
_INSTRUCTION_ENDS = re.compile(r"\[/INST\]")
_AT_THE_END = re.compile(  # of whatever family; a tag that closes nothing, or that nothing closes
    r"(?:<\|[^|<>\s]{1,40}\|>|\[\|[^|\[\]\s]{1,40}\|\]|<[/\\]?([A-Za-z_][\w:]{0,30})>)\s*\Z"
)
_STARTS = re.compile(
    r"\A\s*(?:<\|im_start\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<\|assistant\|>"
    r"|<start_of_turn>\s*model|<｜Assistant｜>|<｜begin▁of▁sentence｜>|<\|begin_of_text\|>|<\|START_RESPONSE\|>|<s>|<bos>|<\|start\|>assistant"
    r"|<\|turn>model|\[/INST\]|<\|?fim_(?:prefix|middle|suffix)\|?>|\[(?:PREFIX|SUFFIX|MIDDLE)\]|<(?:PRE|SUF|MID)>)\s*\n?"
)
_TAG = re.compile(
    r"<(code|pre|python|answer|solution|execute|response|final_answer|tool_code|tool_call|arg_value|content|program|script"
    r"|parameter=\w+|parameter name=\"\w+\")(?: [^<>]*)?>"
    r"|\[(PYTHON|CODE|ANSWER)\]"
)
_AROUND = ("pre", "tool_call", "answer", "solution", "execute", "response", "final_answer")
"""Tags in which others may stand."""
_CALL = ("<|tool_call_start|>", "<|tool_call_end|>")
_JIRA = re.compile(r"^\{(?:code|noformat)(?::([^}\n]*))?\}[ \t]*$", re.M)
_LABEL = re.compile(r"\A\s*(?:python|py)3?[ \t]*:?[ \t]*\n(?=[ \t]*\S)", re.I)
_NEXT_TURN = re.compile(r"(?<=\n)### ?(?:Instruction|Input|User|Human|Question)\b:?[ \t]*$", re.M)
_TURNS = (("\nHuman: ", "\nAssistant:"), ("\nUser: ", "\nAssistant:"), ("\nQuestion: ", "\nAnswer:"))
_NUMBERED = re.compile(r"^[ \t]*(\d{1,5})(?:[ \t]?[|:│]|[.)](?=[ \t]|$))?(?:[ \t]|$)", re.M)
_CELL = re.compile(r"^In \[\d*\]: ?|^[ \t]+\.\.\.: ?", re.M)
_HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1[^\n]*\n")
_PYTHON_TAG = "<|python_tag|>"
_PROMPTED = re.compile(r"^(?:>>> ?|\.\.\. ?)", re.M)
_ODD_SPACES = dict.fromkeys(
    map(ord, "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u202f\u205f\u3000"), " "
)
_UNSEEN = dict.fromkeys(  # of no width, soft hyphens, marks of direction
    [0x00AD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A), 0xFEFF]
)
TOKEN_CHARACTERS = 48  # longer than any token at an answer's end
MOST_TAGS = 8  # that are left out there
NEAR_CHARACTERS = 1000  # of a line, on either side of a token
JSON_ATTEMPTS = 8  # so many braces are tried as the beginning of a value
_KEYS = ("code", "python", "content", "source", "program", "solution", "answer", "script", "input", "query", "text")


def without_tokens(text: str) -> str:
    """The text up to the first special token that ends a turn, and without those that begin one.

    Engines leave such tokens out; stored answers may hold them as text.
    """
    while match := _STARTS.match(text):
        text = text[match.end() :]
    ends = (found for found in _INSTRUCTION_ENDS.finditer(text) if not _is_in_quotes(text, found))
    if found := next(ends, None):
        text = text[: found.start()]
    if "<" in text:
        end = next((found for found in _ENDS.finditer(text) if not _is_in_quotes(text, found)), None)
        text = text[: end.start()] if end else text
    return text[: _end_without_tokens(text)]


def _end_without_tokens(text: str) -> int:
    """Where a text ends but for tokens. Each is looked for at the end alone: an answer may be hundreds of thousands of them."""
    end, tags = len(text), 0
    while match := _AT_THE_END.search(text, max(0, _stripped(text, end) - TOKEN_CHARACTERS), end):
        if match[1]:
            tags += 1
            if tags > MOST_TAGS or text.find(f"<{match[1]}", 0, match.start()) >= 0:
                break
        end = match.start()
    return end


def _stripped(text: str, end: int) -> int:
    """Where the white space begins that a text ends with there."""
    while end and text[end - 1].isspace():
        end -= 1
    return end


def _is_in_quotes(text: str, found: re.Match[str]) -> bool:
    """Whether a token is part of a string of the program, as far as its line tells near by."""
    start, end = found.span()
    before = text[max(0, start - NEAR_CHARACTERS) : start].rpartition("\n")[2]
    after = text[end : end + NEAR_CHARACTERS].partition("\n")[0]
    return any(before.count(quote) % 2 and quote in after for quote in "'\"")


def laid_out(text: str) -> str:
    """The text in the layout that fences and programs are looked for in: lines end in line feeds, Jira's braces are fences, a
    first line that is the language's name alone is left out."""
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")
    if "{" in text and ("{code" in text or "{noformat" in text):
        text = _JIRA.sub(lambda found: f"```{(found[1] or '').partition('|')[0]}", text)
    if text[:12].lstrip()[:2].lower() == "py" and (label := _LABEL.match(text)):
        text = text[label.end() :]
    return text


def next_turns(text: str) -> Iterator[int]:
    """Where a next turn that the model made up may begin, from first to last."""
    starts = [turn.start() for turn in _NEXT_TURN.finditer(text)] if "###" in text else []
    if "\nA" in text:  # every answer of `_TURNS` begins so
        starts += [at for asks, answers in _TURNS if (at := text.find(asks)) >= 0 and text.find(answers, at) >= 0]
    first = len(text) - len(text.lstrip())  # an answer that begins with a heading has nothing in front of it
    yield from (start for start in sorted(starts) if start > first)


def unmarked(code: str, language: str) -> str:
    """Code of a block without what stands in front of each of its lines: numbers of lines, a difference's marks."""
    lines = code.splitlines(keepends=True)
    if language in ("diff", "patch"):
        return "".join(line[1:] for line in lines if line[:1] in ("+", " ") and not line.startswith("+++"))
    first = _NUMBERED.match(code)
    found = map(_NUMBERED.match, lines) if first else ()
    if first and all(match and int(match[1]) == int(first[1]) + place for place, match in enumerate(found)):
        return "".join(_NUMBERED.sub("", line, count=1) for line in lines)
    return code


def plain_spaces(text: str) -> str:
    """No-break and other typographic spaces as spaces, unseen characters left out."""
    if text.isascii():
        return text
    return text.translate(_ODD_SPACES | _UNSEEN)


def unwrapped(text: str) -> Iterator[str]:
    """What stands in tags, in the arguments of tool calls, and behind an interpreter's prompts."""
    position = 0
    while match := _TAG.search(text, position):
        name = match[1] or match[2]
        closing = f"</{name.partition('=')[0].partition(' ')[0]}>" if match[1] else f"[/{name}]"
        end = text.find(closing, match.end())
        inside = text[match.end() :] if end < 0 else text[match.end() : end]
        position = match.end() if name in _AROUND else len(text) if end < 0 else end
        if name in ("code", "pre") and "&" in inside:
            inside = html.unescape(inside)
        yield inside.strip("\r\n")
    if (at := text.rfind(_PYTHON_TAG)) >= 0:
        yield text[at + len(_PYTHON_TAG) :]
    if "<<" in text and (heredoc := _HEREDOC.search(text)):
        yield text[heredoc.end() :].partition(f"\n{heredoc[2]}")[0]
    if "*** Begin Patch" in text or "\n@@ -" in text:
        yield unmarked(text[text.find("\n+") + 1 :].partition("\n*** ")[0], "patch")
    yield from _from_json(text)
    yield from called_with(text)
    if text.lstrip()[:1] == '"':
        yield from _quoted(text)
    if "In [" in text and _CELL.search(text):
        yield "".join(_CELL.sub("", line) for line in text.splitlines(keepends=True) if _CELL.match(line))
    if (">>>" in text or "..." in text) and _PROMPTED.search(text):
        yield "".join(_PROMPTED.sub("", line) for line in text.splitlines(keepends=True) if _PROMPTED.match(line))


def called_with(text: str) -> Iterator[str]:
    """Texts of several lines that an answer hands to a tool, where it is nothing but such a call: ``[python(code="…")]``."""
    inside = text.partition(_CALL[0])[2].partition(_CALL[1])[0] if _CALL[0] in text else text
    inside = inside.strip()
    tree = python.parse(inside) if inside[:1] == "[" and inside[-2:] == ")]" else None
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return
    listed = tree.body[0].value
    for call in listed.elts if isinstance(listed, ast.List) else ():
        for given in [k.value for k in call.keywords] + call.args if isinstance(call, ast.Call) else ():
            if isinstance(given, ast.Constant) and isinstance(given.value, str) and "\n" in given.value:
                yield given.value


def _quoted(text: str) -> Iterator[str]:
    """The text that a JSON string holds, where an answer is nothing else."""
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return
    if isinstance(value, str):
        yield value


def _from_json(text: str) -> Iterator[str]:
    """Texts of several lines in a JSON value, those under a telling key first."""
    start = text.find("{")
    for _ in range(JSON_ATTEMPTS):
        if start < 0:
            return
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        yield from _texts(value, 0)
        start = text.find("{", end)


def _lines(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value.lstrip()[:1] == "{" and depth < 6:  # arguments are often JSON in JSON
            try:
                yield from _texts(json.loads(value, strict=False), depth + 1)
            except (ValueError, RecursionError):
                pass
            else:
                return
        yield value
    elif isinstance(value, dict) and depth < 6:
        if value.get("cell_type") == "code" and _lines(value.get("source")):
            yield "".join(value["source"])
        known = [k for k in _KEYS if k in value]
        for key in known:
            if _lines(value[key]) and len(value[key]) > 1:
                yield "\n".join(line.removesuffix("\n") for line in value[key])
        for key in [*known, *(k for k in value if k not in known)]:
            if isinstance(value[key], dict | list) or (
                isinstance(value[key], str) and ("\n" in value[key] or key in _KEYS or key == "arguments")
            ):
                yield from _texts(value[key], depth + 1)
    elif isinstance(value, list) and depth < 6:
        for item in value:
            if isinstance(item, dict):
                yield from _texts(item, depth + 1)
