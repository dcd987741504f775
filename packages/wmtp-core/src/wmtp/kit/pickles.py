"""A text out of a pickle that is not loaded: loading a pickle from anywhere runs what it says."""

from __future__ import annotations

import pickletools

_TEXT = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_AROUND = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"}


def pickled_text(pickled: bytes) -> str:
    """The one text in a pickle, found by reading its operations. Raises ValueError for a pickle that does anything else."""
    found: list[str] = []
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name in _TEXT:
            found.append(str(argument))
        elif operation.name not in _AROUND:
            raise ValueError(f"a pickle with {operation.name}, where one text is expected; it is not loaded")
    if len(found) != 1:
        raise ValueError(f"a pickle of {len(found)} texts, where one is expected; it is not loaded")
    return found[0]
