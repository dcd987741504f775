"""Values of the standard library that are few, as their class and plain parts: for `wmtp.judging.wire.codec`.

Only these classes themselves: what derives from them may compare in its own way. Whoever reads trusts nothing: what is no such
value raises ValueError or TypeError, which the codec makes `Malformed`. Standard library only.
"""

from __future__ import annotations

import collections
import functools
import importlib
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

MAX_FIELDS = 255  # of a named tuple: each is a class, and classes are kept
MAX_TEXT = 1 << 16
_NUMBERS = "bBhHiIlLqQfd"  # what an array holds; one of characters may hold what is none
_BY_TEXT = ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface")


def _of(module: str, name: str) -> Any:
    """A class, where its module is loaded: a value of it can be nowhere else."""
    return getattr(sys.modules.get(module), name, ())


def parts(value: Any, kind: type) -> list[Any] | None:
    """The class's name and the parts of a value; None if it is none of these."""
    if kind is collections.ChainMap and all(type(one) is dict for one in value.maps):
        return ["ChainMap", *value.maps]
    if kind is types.MappingProxyType and type(plain := value | {}) is dict:
        return ["mappingproxy", plain]
    if kind is memoryview and value.readonly and value.format == "B" and value.ndim == 1:
        return ["memoryview", bytes(value)]
    if kind is _of("array", "array") and value.typecode in _NUMBERS:
        return ["array", value.typecode, value.tobytes()]
    if kind is _of("uuid", "UUID"):
        return ["UUID", value.int]
    if kind in (_of("pathlib", "PurePosixPath"), _of("pathlib", "PureWindowsPath")) or (
        kind.__module__ == "ipaddress" and kind is _of("ipaddress", kind.__name__) and kind.__name__ in _BY_TEXT
    ):
        return [kind.__name__, str(value)]
    return None


def made(items: Sequence[Any]) -> Any:
    """What `parts` wrote. Raises ValueError or TypeError."""
    name, *given = items
    if name not in _MADE or tuple(map(type, given)) != (_MADE[name][0] if name != "ChainMap" else (dict,) * len(given)):
        raise ValueError("no value of the standard library")
    return _MADE[name][1](*given)


def _array(code: str, data: bytes) -> Any:
    if code not in _NUMBERS or len(code) != 1:
        raise ValueError("no array of numbers")
    array: Any = importlib.import_module("array")
    return array.array(code, data)


def _by_text(module: str, name: str, text: str) -> Any:
    if len(text) > MAX_TEXT:
        raise ValueError("text too long")
    return getattr(importlib.import_module(module), name)(text)


_MADE: dict[str, tuple[tuple[type, ...], Callable[..., Any]]] = {
    "ChainMap": ((), collections.ChainMap),
    "mappingproxy": ((dict,), types.MappingProxyType),
    "memoryview": ((bytes,), memoryview),
    "array": ((str, bytes), _array),
    "UUID": ((int,), lambda number: importlib.import_module("uuid").UUID(int=number)),
    **{name: ((str,), functools.partial(_by_text, "pathlib", name)) for name in ("PurePosixPath", "PureWindowsPath")},
    **{name: ((str,), functools.partial(_by_text, "ipaddress", name)) for name in _BY_TEXT},
}


def fields_of(kind: type) -> tuple[str, ...] | None:
    """The names of a named tuple's fields; None of what is none, or compares in its own way."""
    fields = getattr(kind, "_fields", None)
    own: Any = kind.__eq__
    sound = (
        type(fields) is tuple and len(fields) <= MAX_FIELDS and all(type(f) is str and f.isidentifier() for f in fields)
    )
    return fields if sound and own is tuple.__eq__ else None


def named(items: Sequence[Any]) -> Any:
    """A named tuple, from its class's name, its fields' and its values. Raises ValueError."""
    if len(items) % 2 != 1 or any(type(name) is not str or len(name) > 200 for name in items[: len(items) // 2 + 1]):
        raise ValueError("not a named tuple")
    half = len(items) // 2
    if half > MAX_FIELDS:
        raise ValueError("too many fields")
    return _named_class(items[0], tuple(items[1 : half + 1]))(*items[half + 1 :])


@functools.lru_cache(maxsize=64)
def _named_class(name: str, fields: tuple[str, ...]) -> Callable[..., Any]:
    return collections.namedtuple(name, fields)
