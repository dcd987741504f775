"""Coverage-guided fuzzing of the checker's side of the protocol: a child that answers anything gets a verdict of its own.

    python fuzz_protocol.py -max_total_time=600 [CORPUS_FOLDER]          (needs atheris; `make fuzz` runs it)

The input is what a child would write: frames of a kind, a length and a payload, at whatever position of the conversation.
"""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["wmtp.judging.wire", "wmtp.judging.checker"]):
    from wmtp.judging.checker import checker, names
    from wmtp.judging.wire import channel, codec, frames

TESTS = (
    ("assert f(3) == [9, 'ka7']",),
    ("assert f([1, 2], key=len) == 3, f(3)", "assert count == 2"),
    (
        "x = S(3)\nassert x.total() == 5 and len(x) == 2 and list(x) == [1, 2]\nx.name = 'b'\nassert x[0] == x.name and 3 in x",
    ),
    ("def g(v): return v\nassert f(g) == 4 and f(iter([1, 2])) == 3",),
    ("import math\nassert math.isclose(f(2), 4.0) and sorted(f([3, 1])) == [1, 3] and str(f(0)) == ''",),
    ("try:\n    f(3)\n    raise TypeError\nexcept ValueError as error:\n    assert 'x' in str(error)",),
)
STATUSES = {"", "passed", "failed", "error", "timeout", "memory", "blocked"}
PARTS = [names.split("import collections", tests) for tests in TESTS]
KINDS = [*range(frames.READY, frames.CALLBACK + 1), frames.OUTCOME, 0, 255]


class Liar:
    """A socket whose other side has written all its answers already, and reads nothing."""

    def __init__(self, data: bytes) -> None:
        self._answers = io.BytesIO(data)

    def sendall(self, data: bytes) -> None:
        pass

    def recv(self, size: int) -> bytes:
        head = self._answers.read(3)
        if len(head) < 3:
            return b""
        payload = self._answers.read(head[1] << 8 | head[2])
        return channel.HEAD.pack(len(payload), KINDS[head[0] % len(KINDS)]) + payload


class Child:
    def __init__(self, data: bytes) -> None:
        self.sock: Any = Liar(data)


def one_input(data: bytes) -> None:
    if not data:
        return
    job = {"code": "", "limits": {"cpu": 2, "wall": 100.0}}
    status, passed, detail = checker._calls_to_the_end(PARTS[data[0] % len(PARTS)], job, Child(data[1:]))  # type: ignore[arg-type]
    assert status in STATUSES, status
    assert passed >= 0 and len(detail) <= 400, (passed, detail)  # noqa: PT018
    checker._why(data[1:])
    with contextlib.suppress(channel.Closed):
        checker._how_it_ended(data[1:])


def frame(kind: int, payload: bytes) -> bytes:
    return bytes([KINDS.index(kind), len(payload) >> 8, len(payload) & 255]) + payload


def write_seeds(folder: Path) -> None:
    encode = codec.Encoder(lambda value: 7).encode
    answers = [frame(frames.READY, encode(["function"])), frame(frames.READY, encode(["value", "function"]))]
    ends = [
        frame(frames.VALUE, encode([9, "ka7"])), frame(frames.VALUE, encode(object())), frame(frames.REFUSED, b"a set"),
        frame(frames.RAISED, encode([["ValueError", "Exception"], "E", "x"])), frame(frames.SAME, encode([0, b""])),
        frame(frames.CALLBACK, encode([1 << 62, [1], {}])) + frame(frames.VALUE, encode(4)),
    ]  # fmt: skip
    for number in range(len(TESTS)):
        for index, end in enumerate(ends):
            (folder / f"seed-{number}-{index}").write_bytes(bytes([number]) + answers[number == 1] + 4 * end)


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        if folder.is_dir():  # a file is an input to try again
            write_seeds(folder)
    signal.signal(signal.SIGPROF, checker._alarm)  # the fuzzer has SIGALRM for itself
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
