"""Whatever a child writes, and wherever in the conversation: it gets a verdict of its own, never one of the judge's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmtp.judging.checker import checker, names
from wmtp.judging.checker.exceptions import Raised
from wmtp.judging.wire import channel, codec, frames

TESTS = (
    ("assert f(3) == [9, 'ka7']",),
    ("assert f([1, 2], key=len) == 3, f(3)", "assert count == 2"),
    (
        "x = S(3)\nassert x.total() == 5 and len(x) == 2 and list(x) == [1, 2]\nx.name = 'b'\nassert x[0] == x.name and 3 in x",
    ),
    ("def g(v): return v\nassert f(g) == 4 and f(iter([1, 2])) == 3",),
)
PARTS = [names.split("import collections", tests) for tests in TESTS]
JOB = {"code": "", "setup": "import collections", "limits": {"cpu": 2, "wall": 100.0}}
STATUSES = {"", "failed", "error", "timeout", "memory", "blocked"}

encode = codec.Encoder(lambda value: 7).encode
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
exceptions = st.lists(
    st.lists(st.sampled_from(["ValueError", "Exception", "SystemExit", "StopIteration", "KeyError", "x"]))
).map(lambda bases: encode([*bases[:1], "E", "text"]))
callbacks = st.tuples(st.integers(0, 3), st.lists(plain, max_size=2)).map(
    lambda c: encode([(1 << 62) + c[0], c[1], {}])
)
payloads = st.binary(max_size=60) | plain.map(encode) | exceptions | callbacks | st.just(codec.Encoder.reference(7))
kinds = st.sampled_from([*range(frames.READY, frames.CALLBACK + 1), frames.OUTCOME, 0, 255])
loaded = st.just((frames.READY, encode(["function"])))
answers = st.lists(st.tuples(kinds, payloads), max_size=12)


class Liar:
    """A socket whose other side has written all its answers already."""

    def __init__(self, conversation: list[tuple[int, bytes]], rest: bytes) -> None:
        self._frames = iter(
            [channel.HEAD.pack(len(payload), kind) + payload for kind, payload in conversation] + [rest]
        )

    def sendall(self, data: bytes) -> None:
        pass

    def recv(self, size: int) -> bytes:
        return next(self._frames, b"")


class Child:
    def __init__(self, sock: Liar) -> None:
        self.sock: Any = sock


@settings(max_examples=600, deadline=None)
@given(
    number=st.integers(0, len(TESTS) - 1), first=st.lists(loaded, max_size=1), more=answers, rest=st.binary(max_size=8)
)
def test_any_frames_at_any_position_end_in_a_verdict_of_the_programs(
    number: int, first: list[tuple[int, bytes]], more: list[tuple[int, bytes]], rest: bytes
) -> None:
    job = JOB | {"tests": TESTS[number]}
    status, passed, detail = checker._calls_to_the_end(PARTS[number], job, Child(Liar(first + more, rest)))  # type: ignore[arg-type]
    assert status in STATUSES | {"passed"}
    assert 0 <= passed <= len(TESTS[number])
    assert len(detail) <= 400


numbers = st.integers(-(2**63), 2**63 - 1)
reports = st.builds(
    lambda status, usage, beside, spent: channel.REPORT.pack(status, *usage, beside, spent),
    st.integers(0, 1 << 16) | st.integers(-(2**31), 2**31 - 1),
    st.lists(numbers | st.integers(0, 1000), min_size=18, max_size=18),
    st.floats(),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(head=st.binary(max_size=200) | st.builds(lambda *parts: b"".join(parts), reports, st.binary(max_size=20)))
def test_any_report_of_a_case_is_a_report_or_the_end_of_the_framing(head: bytes) -> None:
    try:
        ended, _ = checker._how_it_ended(head)
    except channel.Closed:
        return
    assert ended["peak_mib"] >= 0
    assert ended["cpu"] >= 0


@pytest.mark.parametrize("classes", [[], [":"], ["=X"], ["a:b", "BaseException"], ["a:b", "KeyboardInterrupt"]])
@pytest.mark.parametrize("name", ["", "X", "AssertionError", "no name", "None"])
def test_any_description_of_an_exception_is_one_to_raise(classes: list[str], name: str) -> None:
    described = Raised.read([classes, name, "text", ["argument"], -1])
    assert described is not None
    assert isinstance(described.exception({}, None, steps=False), BaseException)
