"""When a process has ended, or has used up its CPU. For whoever waits for one: the zygote, and the keeper of stdin programs.
Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time

_libc = ctypes.CDLL(None, use_errno=True)
_NONBLOCK, _CLOEXEC = 0x800, 0x80000
_INFO_BYTES, _PID_AT = 128, 16  # of a siginfo_t
_info = ctypes.create_string_buffer(_INFO_BYTES)


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

    def clear(self) -> None:
        """Forgets what is known of already."""
        try:  # noqa: SIM105  (a context manager would touch more pages, for every program)
            os.read(self.descriptor, 128)  # signals of one kind are one
        except BlockingIOError:
            pass


def has_ended(pid: int) -> bool:
    """Whether a child has ended; it is still to be waited for. How, stays in no memory (`reap`)."""
    _libc.waitid(os.P_PID, pid, _info, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    ended = any(_info[_PID_AT : _PID_AT + 4])
    ctypes.memset(_info, 0, _INFO_BYTES)
    return ended


def reap(pid: int, into: ctypes.Array[ctypes.c_char], at: int) -> None:
    """Waits for a child: its status is the first word of `into`, its usage begins `at` that byte. Python sees neither."""
    if _libc.wait4(pid, into, 0, ctypes.byref(into, at)) != pid:
        raise ChildProcessError(f"no child {pid}")


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
