"""Frames over a socket: four bytes of length, one of kind, then the payload. Bounded both ways. Standard library only."""

from __future__ import annotations

import _socket
import struct

HEAD = struct.Struct("=IB")


class Closed(Exception):  # noqa: N818  (an event, not a fault)
    """The other side is gone, or broke the framing."""


def send(sock: _socket.socket, kind: int, payload: bytes = b"") -> None:
    try:
        sock.sendall(HEAD.pack(len(payload), kind) + payload)
    except OSError:
        raise Closed("cannot send") from None


def _exactly(sock: _socket.socket, length: int) -> bytes:
    if not length:
        return b""
    data = bytearray()
    while len(data) < length:
        try:
            piece = sock.recv(min(1 << 20, length - len(data)))
        except OSError:
            raise Closed("cannot receive") from None
        if not piece:
            raise Closed("end of stream")
        data += piece
    return bytes(data)


def receive(sock: _socket.socket, limit: int) -> tuple[int, bytes]:
    """The next frame as (kind, payload). Raises `Closed` at the end of the stream or if a frame exceeds `limit` bytes."""
    length, kind = HEAD.unpack(_exactly(sock, HEAD.size))
    if length > limit:
        raise Closed("frame too large")
    return kind, _exactly(sock, length)
