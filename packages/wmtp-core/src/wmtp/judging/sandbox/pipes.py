"""Pipes and connected pairs that the whole kernel does not count.

The inode of a pipe or a socket has a number of a counter that all programs of a processor share, and whoever asks for it
(`fstat`) learns how many there were before. So at level strict the calls that make them are missing, and programs get named
pipes of their own file system instead, whose numbers are its own; nothing else tells them apart. A pair of sockets is two of
them.
Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import posix
import select
import signal
import socket
import sys
import types
from typing import Any

from wmtp.judging.sandbox import lockdown

_count = itertools.count()
_writers: dict[int, int] = {}
"""Of ends of pairs: the descriptor that is read → the one that is written to."""


def make(folder: str) -> tuple[int, int]:
    """A pipe as `os.pipe` makes it, (to read, to write), by way of a name in a folder that is gone at once."""
    path = f"{folder}/.pipe-{os.getpid()}-{next(_count)}"
    os.mkfifo(path, 0o600)
    try:
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # waits for nobody who writes
        try:
            writing = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            os.close(reading)
            raise
    finally:
        os.unlink(path)
    os.set_blocking(reading, True)
    return reading, writing


def pipe() -> tuple[int, int]:
    return make(lockdown.WORK)


def pipe2(flags: int, /) -> tuple[int, int]:
    ends = make(lockdown.WORK)
    for end in ends:
        os.set_inheritable(end, not flags & os.O_CLOEXEC)
        os.set_blocking(end, not flags & os.O_NONBLOCK)
    return ends


class _End:
    """One end of a pair, a `socket.socket` to whoever uses it. Its descriptor is the one that is read."""

    family, type, proto = socket.AF_UNIX, socket.SOCK_STREAM, 0
    _io_refs, _closed = 0, False
    # What does not reach for the descriptor is as it is there.
    makefile, _decref_socketios = socket.socket.makefile, socket.socket._decref_socketios  # type: ignore[attr-defined]
    close, __enter__, __exit__ = socket.socket.close, socket.socket.__enter__, socket.socket.__exit__

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        _writers[reading] = writing
        self.settimeout(socket.getdefaulttimeout())

    def fileno(self) -> int:
        return self._reading

    def settimeout(self, value: float | None, /) -> None:
        self.timeout = value
        for descriptor in (self._reading, self._writing):
            if descriptor >= 0:
                os.set_blocking(descriptor, value is None)

    def gettimeout(self) -> float | None:
        return self.timeout

    def setblocking(self, flag: bool, /) -> None:
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        return self.timeout != 0

    def _wait(self, descriptor: int, event: int) -> int:
        if self.timeout:
            poll = select.poll()
            poll.register(descriptor, event)
            if not poll.poll(self.timeout * 1000):
                raise TimeoutError("timed out")
        return descriptor

    def send(self, data: Any, flags: int = 0, /) -> int:
        if self._writing < 0:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return os.write(self._wait(self._writing, select.POLLOUT), data)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        left = memoryview(data).cast("B")
        while left:
            left = left[self.send(left) :]

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        return os.read(self._wait(self._reading, select.POLLIN), size)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        room = memoryview(buffer).cast("B")
        return os.readv(self._wait(self._reading, select.POLLIN), [room[: nbytes or len(room)]])

    def getsockname(self) -> str:
        return ""

    getpeername = getsockname

    def getsockopt(self, level: int, option: int, /, *size: int) -> int:
        """SO_TYPE, and 0 of what else is a number (SO_ERROR)."""
        if size:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        return int(self.type) if option == socket.SO_TYPE else 0

    def shutdown(self, how: int, /) -> None:
        if how != socket.SHUT_RD:
            self._let_go()

    def dup(self) -> _End:
        end = _End(os.dup(self._reading), os.dup(self._writing) if self._writing >= 0 else -1)
        end.settimeout(self.timeout)
        return end

    def detach(self) -> int:
        """The descriptor that is read; `multiprocessing` learns which one it has to write to."""
        if connections := sys.modules.get("multiprocessing.connection"):
            _teach(connections)
        self._closed = True
        reading, self._reading, self._writing = self._reading, -1, -1
        return reading

    def _real_close(self) -> None:
        reading, self._reading = self._reading, -1
        if reading >= 0:
            _writers.pop(reading, None)
            os.close(reading)
        self._let_go()

    def _let_go(self) -> None:
        writing, self._writing = self._writing, -1
        if writing >= 0:
            os.close(writing)

    __del__ = _real_close


def socketpair(family: int | None = None, type: int = socket.SOCK_STREAM, proto: int = 0) -> tuple[_End, _End]:
    """As `socket.socketpair`, of streams alone."""
    if type != socket.SOCK_STREAM or family not in (None, socket.AF_UNIX):
        raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))
    first, second = pipe(), pipe()
    return _End(first[0], second[1]), _End(second[0], first[1])


_set_wakeup_fd = signal.set_wakeup_fd


def set_wakeup_fd(fd: int, /, **options: Any) -> int:
    """As `signal.set_wakeup_fd`: a signal writes to an end of a pair, of which `fd` is what is read."""
    return _set_wakeup_fd(_writers.get(fd, fd), **options)


def _teach(connections: types.ModuleType) -> None:
    """Has connections of `multiprocessing` that were ends of pairs write where those did."""
    kind = connections.Connection

    def send(self: Any, buf: Any, write: Any = os.write) -> None:
        left = memoryview(buf).cast("B")
        while left:
            left = left[write(_writers.get(self._handle, self._handle), left) :]

    def close(self: Any) -> None:
        with contextlib.suppress(KeyError):
            os.close(_writers.pop(self._handle))
        os.close(self._handle)

    kind._send, kind._close = send, close


def replace() -> None:
    """Gives them to all programs of this process, instead of the calls that are missing."""
    for module in (os, posix):
        vars(module).update(pipe=pipe, pipe2=pipe2)
    vars(socket).update(socketpair=socketpair)
    vars(signal).update(set_wakeup_fd=set_wakeup_fd)
