"""Coverage-guided fuzzing of the codec's reader: bytes from a liar are read or refused, and nothing else happens.

    python fuzz_codec.py -runs=200000 [CORPUS_FOLDER]          (needs atheris)

`test_codec.py` runs it behind the slow marker.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import fractions
import sys
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["wmtp.judging.wire.codec"]):
    from wmtp.judging.wire import codec

SEEDS: tuple[Any, ...] = (
    None, True, -1, 1 << 70, 1.5, float("nan"), "é\ud800", b"\0", bytearray(b"x"), 1j, ..., NotImplemented, int, type(None),
    [1, [2, (3, {4}), frozenset({5})], {"a": {"b": None}}], range(3), slice(1, None, 2), {1: 2}.keys(), {1: 2}.items(),
    collections.Counter("aab"), collections.OrderedDict(a=1), collections.defaultdict(list, {1: [2]}),
    collections.deque([1, 2], 5), collections.namedtuple("Point", "x y")(1, 2), decimal.Decimal("1.50"),
    fractions.Fraction(1, 3), datetime.datetime(2024, 2, 29, 1, 2), datetime.timedelta(1, 2, 3), OSError(2, "gone", "x"),
)  # fmt: skip


def one_input(data: bytes) -> None:
    try:
        value = codec.Decoder(lambda number: number).decode(data)
    except codec.Malformed:
        return
    with contextlib.suppress(codec.Refused):
        written = codec.Encoder().encode(value)
        codec.Decoder().decode(written)  # what was read can be written, and then read without a handle


def write_seeds(folder: Path) -> None:
    for number, value in enumerate(SEEDS):
        (folder / f"seed-{number}").write_bytes(codec.Encoder().encode(value))


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        if folder.is_dir():  # a file is an input to try again
            write_seeds(folder)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
