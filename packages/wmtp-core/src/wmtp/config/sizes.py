"""Amounts of bytes as people write them: ``500M``, ``20G``, ``20 GiB``."""

from __future__ import annotations

import re

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes, in units of 1024. Raises ValueError saying what a size looks like."""
    match = re.fullmatch(r"(\d+)\s*([kmgt]?)(i?b)?", text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is no size; write 500M or 20G")
    return int(match[1]) * _UNITS[match[2]]
