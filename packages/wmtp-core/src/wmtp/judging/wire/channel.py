"""Frames over a socket: four bytes of length, one of kind, then the payload. Bounded both ways. Standard library only."""

from __future__ import annotations

import _socket
import struct

PIECE = 1 << 16
JOB_LIMIT = 1 << 30
"""Bytes of a frame between parent and checker."""
HEAD = struct.Struct("=IB")
REPORT = struct.Struct("=i4x18qd?")
"""What a zygote says of a program that is over: its status and its usage, as `wait4` tells them; CPU seconds of other processes
that were left; and whether this zygote cannot go on. A keeper of cases says the same of each case, but at last whether it
has printed too much. Behind that stand the end of stderr, after its length, and what the case has printed."""
USAGE_AT, REST_AT = 8, 152
"""Where the usage begins, and where what the zygote adds."""
REST = struct.Struct("=d?")
LENGTH = struct.Struct("=I")


class Closed(Exception):  # noqa: N818  (an event, not a fault)
    """The other side is gone, or broke the framing."""


def send(sock: _socket.socket, kind: int, payload: bytes = b"") -> None:
    try:
        sock.sendall(HEAD.pack(len(payload), kind) + payload)
    except OSError:
        raise Closed("cannot send") from None


def receive(sock: _socket.socket, limit: int) -> tuple[int, bytes]:
    """The next frame as (kind, payload). Raises `Closed` at the end of the stream or if a frame exceeds `limit` bytes.

    Both sides take turns, so that whatever comes in belongs to one frame, and a frame is mostly one read. Bytes beyond its
    end are an answer to what nobody has asked yet: the framing is broken.
    """
    data = b""
    while len(data) < HEAD.size:
        data += some(sock)
    length, kind = HEAD.unpack_from(data)
    if length > limit:
        raise Closed("frame too large")
    end = HEAD.size + length
    if len(data) < end:
        whole = bytearray(data)  # grows in place
        while len(whole) < end:
            whole += some(sock)
        data = bytes(whole)
    if len(data) > end:
        raise Closed("more than one frame at once")
    return kind, data[HEAD.size :]


def some(sock: _socket.socket) -> bytes:
    """What is there to be read. Raises `BlockingIOError` where nothing comes in the time that the socket itself waits for."""
    try:
        data = sock.recv(PIECE)
    except BlockingIOError:
        raise
    except OSError:
        raise Closed("cannot receive") from None
    if not data:
        raise Closed("end of stream")
    return data


class Stream:
    """A socket on which frames may come one close behind another, as between parent and checker, who trust each other."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self._unread = bytearray()

    def send(self, kind: int, payload: bytes = b"") -> None:
        """See `send`."""
        send(self.sock, kind, payload)

    def receive(self, limit: int) -> tuple[int, bytes]:
        """The next frame as (kind, payload). Raises `Closed` as `receive` does, and `BlockingIOError` as `some`: what has come
        of a frame until then is kept."""
        unread = self._unread
        while len(unread) < HEAD.size:
            unread += some(self.sock)
        length, kind = HEAD.unpack_from(unread)
        if length > limit:
            raise Closed("frame too large")
        end = HEAD.size + length
        while len(unread) < end:
            unread += some(self.sock)
        payload = bytes(unread[HEAD.size : end])
        del unread[:end]
        return kind, payload
