"""Values as exact plain data, for the border between checker and candidate. Never pickle.

A value is a tag byte and its payload; containers nest. Types are exact: ``True`` is not ``1``, ``-0.0`` keeps its sign, a
Counter comes back as a Counter. What has no exact form crosses as a *handle*, a number that names an object which stays on
its own side, or not at all (`Refused`).

The reader trusts nothing: every length is checked against what is left, depth and size are bounded, and unknown tags,
trailing bytes or unhashable keys are `Malformed`. Standard library only.
"""

from __future__ import annotations

import builtins
import collections
import datetime
import decimal
import fractions
import struct
import sys
from collections.abc import Callable
from typing import Any

from wmtp.judging.wire import rare

MAX_DEPTH = 400
MAX_BYTES = 64 << 20
MAX_INT_BYTES = 1 << 17
MAX_WEIGHT = 1 << 30
"""Bytes that one value may take in memory, by the cost of its containers: far more than its bytes on the wire."""
_HEAD, _HEAD_FROM = struct.Struct("=cI").pack, struct.Struct("=cI").unpack_from
_MOMENTS = (datetime.date, datetime.time, datetime.datetime)
_ZONES = (type(None), datetime.timezone)  # what is written of a time zone is its offset
_SMALL = {n: _HEAD(b"i", 1) + n.to_bytes(1, "little", signed=True) for n in range(-128, 128)}
_SMALL_FROM = {written: n for n, written in _SMALL.items()}
_SHORT = 1 << 12  # characters of what is written before its size is looked at

Handle = Callable[
    [Any], "int | list[Any] | None"
]  # object → handle, one with what is told of it, or None if it has none
Resolve = Callable[[int], Any]  # handle → object


class Refused(Exception):  # noqa: N818  (a verdict on a value, not a fault)
    """This value has no exact plain form here."""


class TooMuch(Refused):
    """Too large or too deep."""


class Malformed(Exception):  # noqa: N818
    """These bytes are not what an encoder of ours writes."""


def _views() -> dict[type, bytes]:
    empty: dict[int, int] = {}
    return {type(empty.keys()): b"k", type(empty.values()): b"v", type(empty.items()): b"m"}


_VIEWS = _views()
_SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"s", frozenset: b"z", collections.deque: b"q"}
_MAPPINGS: dict[type, bytes] = {dict: b"d", collections.Counter: b"c", collections.OrderedDict: b"o"}
_TYPES = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}
_TYPES["NoneType"] = type(None)
_TYPE_NAMES = {value: name for name, value in _TYPES.items()}
_EXACT: tuple[Any, ...] = (int, float, str, bytes, complex, list, tuple, set, frozenset, dict)


def _plain_base(value: Any) -> Any:
    """The exact data of an instance of a subclass that does not touch comparison (an IntEnum, a list subclass), or None."""
    kind: Any = type(value)
    for base in _EXACT:
        if base in kind.__mro__[1:]:
            if kind.__eq__ is not base.__eq__:
                return None
            if base is float:
                return float.__float__(value)
            if base in (int, complex, str, bytes):
                return base.__add__(value, base())
            if base is dict:
                return dict(dict.items(value))
            return base(base.__iter__(value))
    return None


class Encoder:
    """Writes one value after another. `handle` names objects that stay here; without it such objects are refused."""

    def __init__(self, handle: Handle | None = None) -> None:
        self._handle = handle
        self._parts: list[bytes] = []
        self._size = 0

    def encode(self, value: Any) -> bytes:
        """Raises `Refused`; recursion in the value itself counts as too deep."""
        self._parts, self._size = [], 0
        self._write(value, 0)
        self._charge(0)  # small numbers are not weighed one by one
        return b"".join(self._parts)

    @staticmethod
    def reference(number: int) -> bytes:
        """A handle by itself, also for what has an exact form (a builtin type)."""
        return b"h" + struct.pack("=IQ", 8, number)

    def _charge(self, size: int) -> None:
        self._size += size
        if self._size > MAX_BYTES:
            raise TooMuch(f"larger than {MAX_BYTES >> 20} MiB")

    def _put(self, tag: bytes, payload: bytes = b"") -> None:
        self._size += len(payload) + 5
        if self._size > MAX_BYTES:
            self._charge(0)
        self._parts.append(_HEAD(tag, len(payload)) + payload)

    def _many(self, tag: bytes, values: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TooMuch("nested too deep")
        items = list(values)
        self._size += 5
        if 5 * len(items) > MAX_BYTES - self._size:
            self._charge(5 * len(items))
        add = self._parts.append
        add(_HEAD(tag, len(items)))
        depth += 1
        for item in items:
            # Small numbers and words are most of what programs get and give: they cost no call.
            kind = type(item)
            if kind is int and item in _SMALL:
                self._size += 6
                add(_SMALL[item])
            elif kind is str and len(item) < _SHORT:
                payload = item.encode("utf-8", "surrogatepass")
                self._size += len(payload) + 5
                if self._size > MAX_BYTES:
                    self._charge(0)
                add(_HEAD(b"u", len(payload)) + payload)
            else:
                self._write(item, depth)

    def _write(self, value: Any, depth: int) -> None:
        kind = type(value)
        if kind is str:
            self._put(b"u", value.encode("utf-8", "surrogatepass"))
        elif kind is int:
            payload = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
            if len(payload) > MAX_INT_BYTES:
                raise TooMuch("an integer of more than a million bits")
            self._put(b"i", payload)
        elif kind in _SEQUENCES:
            if kind is collections.deque:
                self._many(b"q", [value.maxlen, *value], depth)
            else:
                self._many(_SEQUENCES[kind], value, depth)
        elif kind is bool:
            self._put(b"T" if value else b"F")
        elif value is None:
            self._put(b"N")
        elif kind is float:
            self._put(b"f", struct.pack("=d", value))
        elif kind in (bytes, bytearray):
            self._put(b"b" if kind is bytes else b"y", bytes(value))
        elif kind is complex:
            self._put(b"x", struct.pack("=dd", value.real, value.imag))
        elif kind in _MAPPINGS:
            self._many(_MAPPINGS[kind], (part for item in value.items() for part in item), depth)
        elif kind is collections.defaultdict:
            factory = value.default_factory
            known = factory if factory is None or factory in _TYPE_NAMES else None
            self._many(b"D", [known, *(part for item in value.items() for part in item)], depth)
        else:
            self._write_rare(value, kind, depth)

    def _write_rare(self, value: Any, kind: type, depth: int) -> None:
        if value is Ellipsis or value is NotImplemented:
            self._put(b"E" if value is Ellipsis else b"J")
        elif kind in _VIEWS:
            items = value if _VIEWS[kind] != b"m" else (part for item in value for part in item)
            self._many(_VIEWS[kind], items, depth)
        elif kind is range:
            self._many(b"r", [value.start, value.stop, value.step], depth)
        elif kind is slice:
            self._many(b"S", [value.start, value.stop, value.step], depth)
        elif isinstance(value, type) and value in _TYPE_NAMES:
            self._put(b"Y", _TYPE_NAMES[value].encode())
        elif kind is decimal.Decimal:
            self._put(b"C", str(value).encode())
        elif kind is fractions.Fraction:
            self._many(b"R", [value.numerator, value.denominator], depth)
        elif kind in _MOMENTS and type(getattr(value, "tzinfo", None)) in _ZONES:
            self._put(b"A", f"{kind.__name__} {value.isoformat()}".encode())
        elif issubclass(kind, Exception) and kind in _TYPE_NAMES and not value.__dict__:
            named = isinstance(value, OSError) and value.filename is not None
            self._many(b"e", [kind.__name__, *value.args, *((value.filename,) if named else ())], depth)
        elif kind is datetime.timedelta:
            self._many(b"L", [value.days, value.seconds, value.microseconds], depth)
        elif issubclass(kind, tuple) and (fields := rare.fields_of(kind)) is not None:
            self._many(b"n", [kind.__name__, *fields, *tuple.__iter__(value)], depth)
        elif (parts := rare.parts(value, kind)) is not None:
            self._many(b"V", parts, depth)
        elif isinstance(value, _numpy_scalars()):
            plain = value.item()  # the nearest of Python's own, or itself: a long double has none
            self._write_object(value) if type(plain) is kind else self._write(plain, depth)
        elif (plain := _plain_base(value)) is not None:
            self._write(plain, depth)
        else:
            self._write_object(value)

    def _write_object(self, value: Any) -> None:
        number = self._handle(value) if self._handle else None
        if number is None:
            raise Refused(f"an object of type {type(value).__name__!r}")
        if isinstance(number, list):
            self._many(b"w", number, 0)
        else:
            self._put(b"h", struct.pack("=Q", number))


def _numpy_scalars() -> Any:
    """numpy's scalar base, where the program has loaded numpy. Its float64 is a float, but compares in its own way."""
    return getattr(sys.modules.get("numpy"), "generic", ())


class Decoder:
    """Reads what `Encoder` wrote. `resolve` turns a handle into an object, `lend` one of which something is told."""

    def __init__(self, resolve: Resolve | None = None, lend: Callable[..., Any] | None = None) -> None:
        self._resolve, self._lend = resolve, lend
        self._data = b""
        self._at = self._weight = 0

    def decode(self, data: bytes) -> Any:
        if len(data) > MAX_BYTES:
            raise Malformed("too large")
        self._data, self._at, self._weight = data, 0, 0
        try:
            value = self._read(0)
        except Malformed:
            raise
        except (ValueError, TypeError, OverflowError, ArithmeticError, RecursionError, struct.error) as error:
            raise Malformed(type(error).__name__) from None
        if self._at != len(data):
            raise Malformed("trailing bytes")
        return value

    def _items(self, count: int, depth: int) -> list[Any]:
        data = self._data
        if depth > MAX_DEPTH or count * 5 > len(data) - self._at:
            raise Malformed("too deep or too many")
        found = []
        depth += 1
        for _ in range(count):
            small = _SMALL_FROM.get(data[self._at : self._at + 6])
            if small is None:
                found.append(self._read(depth))
            else:
                self._at += 6
                found.append(small)
        return found

    def _read(self, depth: int) -> Any:
        data, start = self._data, self._at + 5
        tag, length = _HEAD_FROM(data, self._at)
        if tag in _GROUPS:
            self._at = start
            self._weight += _WEIGHTS.get(tag, 120) + 48 * length
            if self._weight > MAX_WEIGHT:
                raise Malformed("too many containers")
            return _GROUPS[tag](self._items(length, depth))
        if tag == b"w" and self._lend:
            self._at = start
            return self._lend(*self._items(length, depth))
        self._at = end = start + length
        if end > len(data):
            raise Malformed("cut off")
        if tag in _ATOMS:
            return _ATOMS[tag](data[start:end])
        if tag == b"h" and self._resolve:
            return self._resolve(*struct.unpack("=Q", data[start:end]))
        raise Malformed("unknown tag")


def _constant(value: Any) -> Callable[[bytes], Any]:
    def read(payload: bytes) -> Any:
        if payload:
            raise Malformed("payload where none belongs")
        return value

    return read


def _int(payload: bytes) -> int:
    if len(payload) > MAX_INT_BYTES:
        raise Malformed("integer too large")
    return int.from_bytes(payload, "little", signed=True)


def _type(payload: bytes) -> type:
    name = payload.decode()
    if name not in _TYPES:
        raise Malformed("unknown type")
    return _TYPES[name]


def _moment(payload: bytes) -> Any:
    name, _, text = payload.decode().partition(" ")
    if len(payload) > 100:
        raise Malformed("moment too long")
    kind: Any = next((kind for kind in _MOMENTS if kind.__name__ == name), None)
    return kind.fromisoformat(text) if kind else _fail("unknown moment")


def _decimal(payload: bytes) -> decimal.Decimal:
    if len(payload) > 10_000:
        raise Malformed("decimal too long")
    return decimal.Decimal(payload.decode())


def _fail(why: str) -> Any:
    raise Malformed(why)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise Malformed("a key without a value")
    return dict(zip(items[::2], items[1::2], strict=True))


def _defaultdict(items: list[Any]) -> Any:
    factory = items[0] if items else _fail("no factory")
    if factory is not None and not (isinstance(factory, type) and factory in _TYPE_NAMES):
        raise Malformed("factory is no builtin type")
    return collections.defaultdict(factory, _pairs(items[1:]))


def _counter(items: list[Any]) -> Any:
    counter: collections.Counter[Any] = collections.Counter()
    dict.update(counter, _pairs(items))  # as they are: Counter.update would add, and a count may be any value
    return counter


def _deque(items: list[Any]) -> Any:
    if not items or not (items[0] is None or type(items[0]) is int):
        raise Malformed("no maxlen")
    return collections.deque(items[1:], items[0])


def _numbers(items: list[Any], count: int) -> list[int]:
    if len(items) != count or any(type(i) is not int for i in items):
        raise Malformed("integers expected")
    return items


def _exception(items: list[Any]) -> Exception:
    kind = _TYPES.get(items[0]) if items and type(items[0]) is str else None
    return kind(*items[1:]) if kind and issubclass(kind, Exception) else _fail("no exception")


def _slice(items: list[Any]) -> slice:
    return slice(*items) if len(items) == 3 else _fail("a slice has three parts")


_ATOMS: dict[bytes, Callable[[bytes], Any]] = {
    b"N": _constant(None), b"E": _constant(Ellipsis), b"J": _constant(NotImplemented),
    b"T": _constant(True), b"F": _constant(False), b"i": _int,
    b"f": lambda p: struct.unpack("=d", p)[0], b"u": lambda p: p.decode("utf-8", "surrogatepass"),
    b"b": bytes, b"y": bytearray, b"x": lambda p: complex(*struct.unpack("=dd", p)),
    b"Y": _type, b"C": _decimal, b"A": _moment,
}  # fmt: skip
_WEIGHTS = {b"q": 800, b"o": 500, b"c": 400, b"D": 400, b"d": 240, b"s": 230, b"z": 230, b"n": 300}
_GROUPS: dict[bytes, Callable[[list[Any]], Any]] = {
    b"l": list, b"t": tuple, b"s": set, b"z": frozenset, b"q": _deque, b"d": _pairs, b"c": _counter,
    b"o": lambda i: collections.OrderedDict(_pairs(i)), b"D": _defaultdict,
    b"k": lambda i: dict.fromkeys(i).keys(), b"v": lambda i: dict(enumerate(i)).values(),
    b"m": lambda i: _pairs(i).items(), b"r": lambda i: range(*_numbers(i, 3)), b"S": _slice,
    b"R": lambda i: fractions.Fraction(*_numbers(i, 2)), b"L": lambda i: datetime.timedelta(*_numbers(i, 3)),
    b"n": rare.named, b"V": rare.made, b"e": _exception,
}  # fmt: skip
