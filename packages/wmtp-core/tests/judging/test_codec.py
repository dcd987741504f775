"""The codec: what goes in comes out exactly, and bytes from a liar end in a clean refusal."""

from __future__ import annotations

import array
import collections
import contextlib
import datetime
import decimal
import fractions
import ipaddress
import math
import pathlib
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wmtp.judging.wire import codec

ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers(), st.just(...),
    st.dates(), st.datetimes(), st.timedeltas(), st.fractions(), st.decimals(allow_nan=False),
    st.uuids(), st.ip_addresses(), st.builds(array.array, st.sampled_from("bhilq"), st.lists(st.integers(-99, 99))),
    st.binary().map(memoryview), st.just(pathlib.PurePosixPath("/a/b.c")), st.just(ipaddress.ip_network("10.0.0.0/30")),
    st.sampled_from([int, str, dict, type, type(None), object]), st.builds(range, st.integers(), st.integers()),
)  # fmt: skip
KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.tuples(st.integers(), st.text()))


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    mapping = st.dictionaries(KEYS, inner, max_size=4)
    return st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.sets(KEYS, max_size=5),
        st.frozensets(KEYS, max_size=5),
        mapping,
        mapping.map(collections.OrderedDict),
        mapping.map(types.MappingProxyType),
        st.lists(mapping, min_size=1, max_size=3).map(lambda maps: collections.ChainMap(*maps)),
        mapping.map(lambda d: collections.defaultdict(list, d)),
        st.dictionaries(KEYS, st.integers(), max_size=4).map(collections.Counter),
        st.lists(inner, max_size=5).map(lambda v: collections.deque(v, 9)),
        st.binary().map(bytearray),
    )


VALUES = st.recursive(ATOMS, _containers, max_leaves=20)


def _same(one: Any, other: Any) -> bool:
    """Equal in type and bits, all the way down, order of mappings included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (one.hex() == other.hex() and math.copysign(1, one) == math.copysign(1, other)) or (
            one != one and other != other
        )
    if isinstance(one, complex):
        return _same(one.real, other.real) and _same(one.imag, other.imag)
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, collections.ChainMap):
        return _same(one.maps, other.maps)
    if isinstance(one, (dict, types.MappingProxyType)):
        return _same(list(one.items()), list(other.items()))
    if isinstance(one, decimal.Decimal):
        return str(one) == str(other)
    return bool(one == other)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_what_goes_in_comes_out(value: Any) -> None:
    assert _same(value, codec.Decoder().decode(codec.Encoder().encode(value)))


@settings(max_examples=1500, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(codec.Malformed):
        codec.Decoder().decode(data)


def examples(*strategies: st.SearchStrategy[Any]) -> Callable[[types.FunctionType], Callable[..., None]]:
    """400 in CI and 10,000 with ``-m slow``; the fuzzer beside (`make fuzz`) goes on from there."""

    def made(test: types.FunctionType) -> Callable[..., None]:
        def run(count: int) -> None:
            # A copy: hypothesis takes settings once for a function, and this runs twice.
            once = types.FunctionType(test.__code__, test.__globals__, test.__name__)
            quiet = [HealthCheck.too_slow]
            settings(max_examples=count, deadline=None, suppress_health_check=quiet)(given(*strategies)(once))()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])(run)

    return made


@examples(VALUES, st.data())
def test_damaged_bytes_are_read_or_refused(value: Any, draw: st.DataObject) -> None:
    data = bytearray(codec.Encoder().encode(value))
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(data) - 1))
        data[place] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(data)))
    with contextlib.suppress(codec.Malformed):
        codec.Decoder(lambda number: object()).decode(bytes(data[:cut] if draw.draw(st.booleans()) else data))


TAGS = sorted({*codec._ATOMS, *codec._GROUPS, b"h"})


@examples(st.lists(st.tuples(st.sampled_from(TAGS), st.integers(0, 6), st.binary(max_size=12)), max_size=12))
def test_plausible_nonsense_is_read_or_refused(parts: list[tuple[bytes, int, bytes]]) -> None:
    """Valid tags with lengths that fit, in any order: what a liar who knows the format would write."""
    data = b""
    for tag, count, payload in parts:
        group = tag in codec._GROUPS
        data += tag + (count if group else len(payload)).to_bytes(4, "little") + (b"" if group else payload)
    with contextlib.suppress(codec.Malformed):
        codec.Decoder().decode(data)


def _head(tag: bytes, length: int) -> bytes:
    return tag + length.to_bytes(4, "little")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _head(b"l", 1) * 100_000 + _head(b"N", 0),  # a hundred thousand deep
        _head(b"l", 0xFFFFFFFF),  # four thousand million items, none there
        _head(b"u", 0xFFFFFFFF) + b"x",
        _head(b"i", codec.MAX_INT_BYTES + 1) + bytes(codec.MAX_INT_BYTES + 1),
        _head(b"d", 2) + _head(b"l", 0) + _head(b"N", 0),  # an unhashable key
        _head(b"R", 2) + _head(b"i", 1) + b"\1" + _head(b"i", 1) + b"\0",  # a fraction of nothing
        _head(b"r", 3) + (_head(b"i", 1) + b"\0") * 3,  # a range without a step
        _head(b"Y", 4) + b"eval",  # no type
        _head(b"Y", 8) + b"__import",
        _head(b"h", 8) + bytes(8),  # a handle where none is known
        _head(b"N", 0) * 2,
        _head(b"C", 3) + b"1ex",
        _head(b"n", 3) + _head(b"u", 2) + b"P(" + _head(b"u", 1) + b"x" + _head(b"N", 0),  # a class name that is none
        _head(b"D", 1) + _head(b"u", 1) + b"x",
        _head(b"V", 0),
        _head(b"V", 2) + _head(b"u", 4) + b"UUID" + _head(b"u", 1) + b"x",  # a UUID of a text
        _head(b"V", 2) + _head(b"u", 5) + b"Popen" + _head(b"u", 4) + b"true",  # no value
        # an array of characters
        _head(b"V", 3) + _head(b"u", 5) + b"array" + _head(b"u", 1) + b"w" + _head(b"b", 4) + b"\xff" * 4,
        _head(b"V", 3) + _head(b"u", 5) + b"array" + _head(b"u", 1) + b"q" + _head(b"b", 4) + bytes(4),  # half a number
        _head(b"V", 2) + _head(b"u", 11) + b"IPv4Network" + _head(b"u", 3) + b"ten",
        _head(b"V", 2) + _head(b"u", 8) + b"ChainMap" + _head(b"l", 0),
    ],
)
def test_lies(data: bytes) -> None:
    with pytest.raises(codec.Malformed):
        codec.Decoder().decode(data)


def test_what_has_no_exact_form_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (object(), lambda: 0, loop, 1 << (codec.MAX_INT_BYTES * 8 + 8), datetime.UTC):
        with pytest.raises(codec.Refused):
            codec.Encoder().encode([value])


def test_an_equality_of_its_own_stays_behind() -> None:
    class Liar(int):
        __eq__ = lambda self, other: True  # noqa: E731
        __hash__ = int.__hash__

    class Honest(int):
        pass

    with pytest.raises(codec.Refused):
        codec.Encoder().encode(Liar(3))
    assert type(codec.Decoder().decode(codec.Encoder().encode(Honest(3)))) is int


def test_fractions_and_moments_keep_their_type() -> None:
    value = [fractions.Fraction(1, 3), datetime.date(2020, 2, 29), datetime.time(1, 2), slice(1, None, -1)]
    assert _same(value, codec.Decoder().decode(codec.Encoder().encode(value)))


@pytest.mark.slow
def test_guided_fuzzing_finds_nothing_but_clean_refusals(tmp_path: Path) -> None:
    """Two million inputs that grow towards lines of the reader not yet reached."""
    pytest.importorskip("atheris", reason="pip install atheris==3.0.0 brings this test's fuzzer")
    script = Path(__file__).with_name("fuzz_codec.py")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [
        sys.executable,
        script,
        "-runs=2000000",
        "-seed=7",
        "-max_len=512",
        f"-artifact_prefix={tmp_path}/",
        corpus,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 2000000 runs" in done.stderr
    assert len(list(corpus.iterdir())) > 60  # it reached further than its seeds
