"""What a process of the judge has from the one that started it, and must not matter to any verdict. Standard library only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket

_RAISED = (
    resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC,
)  # fmt: skip
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored by every interpreter
UMASK = 0o022


def end(descriptor: int) -> socket.socket:
    """A socket that the parent has left open for this process, under the lowest number that is free here.

    The number that it came with is chance: in a parent with many files open it may be the one that a child's channel has, or
    lie beyond all that a child closes.
    """
    try:
        return socket.socket(fileno=os.dup(descriptor))
    finally:
        os.close(descriptor)


def forget() -> None:
    """Signals arrive and do what they do by default, new files have the usual mode, and limits are as high as they may be.

    Whoever has threads blocks signals in most of them, and a judge may be opened in any; services ignore that children end.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN and number not in _PYTHONS:
            signal.signal(number, signal.SIG_DFL)
    os.umask(UMASK)
    for which in _RAISED:
        hard = resource.getrlimit(which)[1]
        # Of files, what the kernel allows at all may have been lowered since.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (hard, hard))
