"""A text out of a pickle that is not loaded: loading a pickle from anywhere runs what it says. And out of a bounded packing."""

from __future__ import annotations

import base64
import binascii
import pickletools
import zlib

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


def packed_bytes(text: str, most: int) -> bytes:
    """What zlib has compressed and base64 written down, no longer than `most`.

    Raises:
        ValueError: it is neither, is cut off, or holds more.
    """
    try:
        unpacking = zlib.decompressobj()
        found = unpacking.decompress(base64.b64decode(text, validate=True), most)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"neither JSON nor compressed: {error}") from None
    if not unpacking.eof:
        raise ValueError(f"cut off, or more than {most >> 20} MiB")
    return found
