"""Frames between parent and checker, which may come one close behind another, and in any pieces."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmtp.judging.wire import channel


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, channel.Stream]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        yield ours, channel.Stream(theirs)


FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=6)


@given(FRAMES, st.data())
def test_frames_in_any_pieces_come_out_whole_and_in_order(frames: list[tuple[int, bytes]], draw: st.DataObject) -> None:
    data = b"".join(channel.HEAD.pack(len(payload), kind) + payload for kind, payload in frames)
    ours, theirs = socket.socketpair()
    found = []
    with ours, theirs:
        theirs.setblocking(False)
        stream = channel.Stream(theirs)
        while data:
            size = draw.draw(st.integers(1, len(data)))
            ours.sendall(data[:size])
            data = data[size:]
            while True:
                try:
                    found.append(stream.receive(100))
                except BlockingIOError:
                    break
    assert found == frames


def test_a_frame_that_is_too_large_and_an_end_are_told(ends: tuple[socket.socket, channel.Stream]) -> None:
    ours, stream = ends
    ours.sendall(channel.HEAD.pack(5, 1) + b"12345" + channel.HEAD.pack(11, 1))
    assert stream.receive(10) == (1, b"12345")
    with pytest.raises(channel.Closed, match="too large"):
        stream.receive(10)
    ours.sendall(b"12")
    ours.close()
    with pytest.raises(channel.Closed, match="end of stream"):
        stream.receive(20)
