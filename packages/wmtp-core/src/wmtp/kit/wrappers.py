"""Answers in wrappers that are no fences: special tokens as text, tags, tool calls, prompts of an interpreter."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

_ENDS = re.compile(
    r"<\|(?:im_end|endoftext|end_of_text|eot_id|eom_id|EOT|end|return|user|endofturn|end_of_turn|file_separator|fim_pad|call)\|>"
    r"|<｜(?:end▁of▁sentence|User|Assistant)｜>|<end_of_turn>|<start_of_turn>|<eos>|</s>|<EOD>|<turn\|>|\[/INST\]|<\|EOS\|>"
    r"|<\|END_OF_TURN_TOKEN\|>|<\|END_RESPONSE\|>|<\|im_start\|>|<\|start_header_id\|>"
)
_STARTS = re.compile(
    r"\A\s*(?:<\|im_start\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<\|assistant\|>"
    r"|<start_of_turn>\s*model|<｜Assistant｜>|<｜begin▁of▁sentence｜>|<\|begin_of_text\|>|<\|START_RESPONSE\|>|<s>|<bos>|<\|start\|>assistant"
    r"|<\|turn>model|\[/INST\])\s*\n?"
)
_TAG = re.compile(
    r"<(code|pre|python|answer|solution|execute|tool_code|tool_call|parameter=\w+|parameter name=\"\w+\")(?: [^<>]*)?>"
    r"|\[(PYTHON|CODE|ANSWER)\]"
)
_PYTHON_TAG = "<|python_tag|>"
_PROMPTED = re.compile(r"^(?:>>> ?|\.\.\. ?)", re.M)
_ODD_SPACES = dict.fromkeys(
    map(ord, "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u202f\u205f\u3000"), " "
)
_UNSEEN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
_KEYS = ("code", "python", "content", "source", "program", "solution", "answer", "script", "input", "query", "text")


def without_tokens(text: str) -> str:
    """The text up to the first special token that ends a turn, and without those that begin one.

    Engines leave such tokens out; stored answers may hold them as text.
    """
    while match := _STARTS.match(text):
        text = text[match.end() :]
    end = _ENDS.search(text)
    return text[: end.start()] if end else text


def plain_spaces(text: str) -> str:
    """No-break and other typographic spaces as spaces, unseen characters left out."""
    return text.translate(_ODD_SPACES | _UNSEEN)


def unwrapped(text: str) -> Iterator[str]:
    """What stands in tags, in the arguments of tool calls, and behind an interpreter's prompts."""
    position = 0
    while match := _TAG.search(text, position):
        name = match[1] or match[2]
        closing = f"</{name.partition('=')[0].partition(' ')[0]}>" if match[1] else f"[/{name}]"
        end = text.find(closing, match.end())
        inside = text[match.end() :] if end < 0 else text[match.end() : end]
        position = (
            match.end()
            if name in ("pre", "tool_call", "answer", "solution", "execute")
            else len(text)
            if end < 0
            else end
        )
        if name in ("code", "pre") and "&" in inside:
            inside = html.unescape(inside)
        yield inside.strip("\r\n")
    if (at := text.rfind(_PYTHON_TAG)) >= 0:
        yield text[at + len(_PYTHON_TAG) :]
    yield from _from_json(text)
    if _PROMPTED.search(text):
        yield "".join(_PROMPTED.sub("", line) for line in text.splitlines(keepends=True) if _PROMPTED.match(line))


def _from_json(text: str) -> Iterator[str]:
    """Texts of several lines in a JSON value, those under a telling key first."""
    start = text.find("{")
    if start < 0:
        return
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return
    yield from _texts(value, 0)


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value.lstrip()[:1] == "{" and depth < 4:  # arguments are often JSON in JSON
            try:
                yield from _texts(json.loads(value, strict=False), depth + 1)
            except (ValueError, RecursionError):
                pass
            else:
                return
        yield value
    elif isinstance(value, dict) and depth < 6:
        known = [k for k in _KEYS if k in value]
        for key in [*known, *(k for k in value if k not in known)]:
            if isinstance(value[key], dict | list) or (
                isinstance(value[key], str) and ("\n" in value[key] or key in _KEYS or key == "arguments")
            ):
                yield from _texts(value[key], depth + 1)
    elif isinstance(value, list) and depth < 6:
        for item in value:
            if isinstance(item, dict):
                yield from _texts(item, depth + 1)
