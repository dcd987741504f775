"""JSON that others wrote."""

from __future__ import annotations

import codecs
import json
from typing import Any


def loads(text: str | bytes) -> Any:
    """As `json.loads`, but for text nested too deep: a ValueError like that of any other text that is no JSON here."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def loads_utf8(data: bytes) -> Any:
    """As `loads`, of UTF-8 in which a model's half of a surrogate pair may stand, as our own files have it.

    A byte order mark before it, as Windows puts one there, is passed over.
    """
    return loads(data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogatepass"))
