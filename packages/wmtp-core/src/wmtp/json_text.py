"""JSON that others wrote."""

from __future__ import annotations

import codecs
import json
from typing import Any


def loads(text: str | bytes, *, unique: bool = False) -> Any:
    """As `json.loads`, but for text nested too deep: a ValueError like that of any other text that is no JSON here.

    unique: A key that an object has twice is refused as well; else the last one counts.
    """
    if isinstance(text, str) and (found := _line(text, unique=unique)):
        return found[0]
    try:
        return json.loads(text, object_pairs_hook=_once if unique else None)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _line(text: str, *, unique: bool) -> tuple[Any] | None:
    """What a line of a file holds, read without the decoder that `json.loads` makes anew for each: half of what a short line
    costs. ``None`` where more follows than white space, or something is wrong, which `loads` finds and says."""
    try:
        value, end = (_UNIQUE if unique else _PLAIN).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return None if text[end:].strip(" \t\r\n") else (value,)


def loads_utf8(data: bytes, *, unique: bool = False) -> Any:
    """As `loads`, of UTF-8 in which a model's half of a surrogate pair may stand, as our own files have it.

    A byte order mark before it, as Windows puts one there, is passed over.
    """
    return loads(data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogatepass"), unique=unique)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"has the key {next(key for key in keys if keys.count(key) > 1)!r} twice in one object")
    return found


_PLAIN, _UNIQUE = json.JSONDecoder(), json.JSONDecoder(object_pairs_hook=_once)
