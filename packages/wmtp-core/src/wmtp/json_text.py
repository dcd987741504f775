"""JSON that others wrote."""

from __future__ import annotations

import codecs
import json
from typing import Any


def loads(text: str | bytes, *, unique: bool = False) -> Any:
    """As `json.loads`, but for text nested too deep: a ValueError like that of any other text that is no JSON here.

    unique: A key that an object has twice is refused as well; else the last one counts.
    """
    try:
        return json.loads(text, object_pairs_hook=_once if unique else None)
    except RecursionError:
        raise ValueError("nested too deep") from None


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
