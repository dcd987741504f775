"""What a forked process asks of the kernel before a program's first line, made ready before the fork.

A child pays for each page that it writes, and Python writes wherever it counts references: the functions, modules and objects
through which six system calls would be made are a hundred pages. So the zygote makes a list of C functions and numbers, and
its child only goes through it. Standard library only.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import struct
from collections.abc import Callable, Iterable
from typing import Any

from wmtp.judging.sandbox import c_functions, landlock, lockdown

Step = tuple[Callable[..., int | None], tuple[int, ...]]
"""A function, below 0 where it fails, and what it is called with."""

DESCRIPTORS = 256
_SETS_BYTES = 128
_F_SETFL = 4

_named = c_functions.named
_capset, _syscall, _setsid, _fcntl = _named("capset", 2), _named("syscall", 3), _named("setsid", 0), _named("fcntl", 3)
_sigprocmask, _setrlimit, _dup2 = _named("sigprocmask", 3), _named("setrlimit", 2), _named("dup2", 2)
_open, _close = _named("open", 2), _named("close", 1)
_close_range: Callable[..., int | None] = (
    _named("close_range", 3)
    if hasattr(c_functions.library, "close_range")
    else lambda first, last, _: os.closerange(first, last + 1)
)
_kept: list[Any] = []  # memory that steps point to


def take(steps: Iterable[Step]) -> None:
    """Raises OSError at the first that fails."""
    for function, arguments in steps:
        result = function(*arguments)
        if result is not None and result < 0:
            raise OSError(f"{function} failed")


def no_capabilities() -> Step:
    """Empties the permitted, effective and inheritable sets; `lockdown.keep_mounting` has emptied the bounding one."""
    return _capset, (ctypes.addressof(lockdown.CAP_HEADER), ctypes.addressof(lockdown.NO_CAPS))


def restricted(ruleset: int) -> Step:
    """Takes on Landlock rules, for good."""
    return _syscall, (landlock.RESTRICT, ruleset, 0)


def own_session() -> Step:
    return _setsid, ()


def copied(descriptor: int, to: int) -> Step:
    return _dup2, (descriptor, to)


def blocking(descriptor: int) -> Step:
    """Whoever had this pipe before may have asked for the opposite."""
    return _fcntl, (descriptor, _F_SETFL, 0)


def own_streams() -> list[Step]:
    """Standard streams that lead to nothing and are no other process's. One that is inherited is the zygote's own open file:
    its flags and its locks would stay for the next program to see, and so would the times of /dev/null, which whoever has
    a descriptor from outside may set."""
    opened = (_open, (_memory(os.devnull.encode() + b"\0"), os.O_RDWR))  # the lowest number: 0
    nothing = os.stat(os.devnull)
    others = [number for number in (1, 2) if os.path.samestat(os.fstat(number), nothing)]
    return [(_close, (0,)), opened, *(copied(0, number) for number in others)]


def no_descriptors(*kept: int) -> list[Step]:
    """None but the standard streams and those to be kept."""
    edges = [2, *sorted(kept), DESCRIPTORS]
    gaps = [(below + 1, above - 1) for below, above in itertools.pairwise(edges)]
    return [(_close_range, (first, last, 0)) for first, last in gaps if first <= last]


def unblocked(number: int) -> Step:
    """Signals of this kind arrive again."""
    return _sigprocmask, (signal.SIG_UNBLOCK, _memory((1 << number - 1).to_bytes(_SETS_BYTES, "little")), 0)


def limits(wanted: lockdown.Bounds) -> list[Step]:
    every = (1 << 8 * struct.calcsize("@L")) - 1  # no limit is minus one
    return [
        (_setrlimit, (which, _memory(struct.pack("@LL", soft & every, hard & every)))) for which, (soft, hard) in wanted
    ]


def _memory(content: bytes) -> int:
    """The address of these bytes, which stay where they are: few are ever asked for, and most of them again and again."""
    for buffer in _kept:
        if buffer.raw == content:
            return ctypes.addressof(buffer)
    _kept.append(ctypes.create_string_buffer(content, len(content)))
    return ctypes.addressof(_kept[-1])
