"""When a process has ended, or has used up its CPU. For whoever waits for one: the zygote, and the keeper of stdin programs.
Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
import time

from wmtp.judging.sandbox import c_functions

_libc = ctypes.CDLL(None, use_errno=True)
_NONBLOCK, _CLOEXEC = 0x800, 0x80000
_INFO_BYTES, _PID_AT = 128, 16  # of a siginfo_t
_info = ctypes.create_string_buffer(_INFO_BYTES)
_read, _wait4 = c_functions.named("read", 3), c_functions.named("wait4", 4)
USAGE_BYTES = 144
_beside = ctypes.create_string_buffer(USAGE_BYTES)
_CPU = struct.Struct("=4q")  # the user's and the system's, seconds and µs


class Deaths:
    """A descriptor to poll: children of whoever polls have ended. Made once, it serves every process that is forked later, and
    costs a program nothing; a pidfd would, and its inode number tells how many processes the kernel has started.
    """

    def __init__(self) -> None:
        """Blocks SIGCHLD in this process and all that it forks, until they unblock it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
        mask = ctypes.create_string_buffer((1 << signal.SIGCHLD - 1).to_bytes(8, "little"), 128)
        self.descriptor = int(_libc.signalfd(-1, mask, _NONBLOCK | _CLOEXEC))
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "signalfd")
        self._told = ctypes.create_string_buffer(_INFO_BYTES)  # signals of one kind are one
        self._clear = self.descriptor, ctypes.addressof(self._told), _INFO_BYTES

    def clear(self) -> None:
        """Forgets what is known of already."""
        if _read(*self._clear) > 0:
            ctypes.memset(self._told, 0, _INFO_BYTES)  # it says how a program has ended


def has_ended(pid: int) -> bool:
    """Whether a child has ended; it is still to be waited for. How, stays in no memory (`reap`)."""
    _libc.waitid(os.P_PID, pid, _info, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    ended = any(_info[_PID_AT : _PID_AT + 4])
    ctypes.memset(_info, 0, _INFO_BYTES)
    return ended


def reap(pid: int, into: ctypes.Array[ctypes.c_char], at: int, *, wait: bool = True) -> bool:
    """Waits for a child: its status is the first word of `into`, its usage begins `at` that byte. Python sees neither.

    Returns whether it has ended, which it may not have where nobody is to wait. Raises ChildProcessError where there is none.
    """
    address = ctypes.addressof(into)
    found = _wait4(pid, address, 0 if wait else os.WNOHANG, address + at)
    if found < 0:
        raise ChildProcessError(f"no child {pid}")
    return found > 0


def reap_any(*, wait: bool) -> float | None:
    """The CPU that a child has used which has ended, below 0 where none has; None where there is no child."""
    found = _wait4(-1, 0, 0 if wait else os.WNOHANG, ctypes.addressof(_beside))
    if found <= 0:
        return None if found else -1.0
    user, user_us, system, system_us = _CPU.unpack_from(_beside)
    ctypes.memset(_beside, 0, USAGE_BYTES)
    return float(user + system + (user_us + system_us) / 1e6)


class Watchdog:
    """Waits for events while a process has CPU left. It reads no other clock: that it slept, nobody here knows.

    The clock on the wall is looked at from outside (`wmtp.judging.host.watch`), where it can be seen how long it had to wait.
    """

    def __init__(self, pid: int, cpu: float) -> None:
        self._clock = ~pid << 3 | 2  # how Linux numbers the CPU clock of a process
        self._cpu = cpu

    def wait(self, poll: select.poll) -> list[tuple[int, int]]:
        """The next events of `poll`; none once the process has to be stopped. Its own clock says exactly what it has used,
        and is only looked at when that could be enough."""
        spare = self._cpu
        while spare > 0:
            events = poll.poll(min(spare, 1e6) * 1000 + 1)
            if events:
                return events
            spare = self._cpu - self._used()
        return []

    def _used(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:  # gone: `poll` tells next
            return 0.0
