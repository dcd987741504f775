"""The seccomp filter of the sandbox: an allow-list of system calls, as classic BPF.

What is not listed fails with EPERM, except for calls that libc probes and falls back from, which fail with ENOSYS. A call
from another architecture or ABI (x32, i386) kills the process. Numbers are from the kernel's system call tables.
"""

from __future__ import annotations

import ctypes
import errno
import struct

# name → (x86_64, aarch64); None where the architecture has no such call.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    # files, within what the mount namespace and Landlock leave
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None),
    "close_range": (436, 436),
    "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "pread64": (17, 67), "pwrite64": (18, 68),
    "readv": (19, 65), "writev": (20, 66), "access": (21, None), "select": (23, None),
    "fsync": (74, 82),
    "fdatasync": (75, 83), "truncate": (76, 45), "ftruncate": (77, 46), "getdents": (78, None), "getcwd": (79, 17),
    "chdir": (80, 49), "fchdir": (81, 50), "rename": (82, None), "mkdir": (83, None), "rmdir": (84, None),
    "creat": (85, None), "link": (86, None), "unlink": (87, None), "symlink": (88, None), "readlink": (89, None),
    "chmod": (90, None), "fchmod": (91, 52), "umask": (95, 166), "statfs": (137, 43), "fstatfs": (138, 44),
    "utimensat": (280, 88), "fallocate": (285, 47), "openat": (257, 56), "mkdirat": (258, 34),
    "unlinkat": (263, 35), "renameat": (264, 38), "linkat": (265, 37),
    "symlinkat": (266, 36), "readlinkat": (267, 78), "fchmodat": (268, 53), "faccessat": (269, 48),
    "renameat2": (316, 276), "faccessat2": (439, 439), "getdents64": (217, 61),
    "sendfile": (40, 71), "copy_file_range": (326, 285),
    "utimes": (235, None), "futimesat": (261, None), "utime": (132, None),
    # memory
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "msync": (26, 227), "membarrier": (324, 283),
    # waiting and events
    "ppoll": (271, 73), "pselect6": (270, 72), "epoll_create": (213, None), "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22), "eventfd2": (290, 19),
    "timerfd_create": (283, 85), "timerfd_settime": (286, 86), "timerfd_gettime": (287, 87),
    "nanosleep": (35, 101), "pause": (34, None), "alarm": (37, None),
    "getitimer": (36, 102), "setitimer": (38, 103), "timer_settime": (223, 110),
    "timer_gettime": (224, 108), "timer_delete": (226, 111), "futex": (202, 98), "restart_syscall": (219, 128),
    # signals, among the processes of the namespace
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "kill": (62, 129),
    "tkill": (200, 130), "tgkill": (234, 131),
    # processes and threads; clone is filtered by its flags below
    "fork": (57, None), "vfork": (58, None), "exit": (60, 93), "exit_group": (231, 94), "wait4": (61, 260),
    "waitid": (247, 95), "set_tid_address": (218, 96), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "rseq": (334, 293), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "arch_prctl": (158, None),
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "setsid": (112, 157), "getsid": (124, 156),
    "setpgid": (109, 154), "getpgid": (121, 155), "getpgrp": (111, None), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getgroups": (115, 158),
    "capget": (125, 90), "getresuid": (118, 148), "getresgid": (120, 150), "getpriority": (140, 141),
    # the machine and the clock
    "uname": (63, 160), "times": (100, 153), "getrusage": (98, 165), "getrlimit": (97, 163),
    "setrlimit": (160, 164), "gettimeofday": (96, 169), "time": (201, None), "getcpu": (309, 168),
    "clock_getres": (229, 114), "getrandom": (318, 278),
    # the channel; never an address
    "sendto": (44, 206), "recvfrom": (45, 207), "recvmsg": (47, 212), "shutdown": (48, 210),
    "getsockname": (51, 204), "getpeername": (52, 205),
}  # fmt: skip
# Allowed only with certain arguments: name → (numbers, argument index, allowed values).
_CHECKED: dict[str, tuple[tuple[int | None, int | None], int, tuple[int, ...]]] = {
    # TCGETS, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what open() and sockets ask for; no TIOCSTI
    "ioctl": ((16, 29), 1, (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)),
    "prlimit64": ((302, 261), 0, (0,)),  # its own limits only: pid 1 has the same uid
    "prctl": ((157, 167), 0, (16, 21, 36)),  # GET_NAME, GET_SECCOMP, SET_CHILD_SUBREAPER
    # SO_TYPE, SO_ERROR, SO_SNDBUF, SO_RCVBUF, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN: the cookie of a socket is a counter of the
    # whole kernel, and a pidfd of its peer has one for its inode
    "getsockopt": ((55, 209), 2, (3, 4, 7, 8, 30, 38, 39)),
    # Not what throws pages of a file out of memory, or joins them: whoever reads it next would notice.
    "madvise": ((28, 233), 2, (0, 1, 2, 3, 4, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 22, 23)),
    # The zygote's, and the keeper's of stdin programs: buffers, and none. Nobody else has a ring, and nobody can make one.
    "io_uring_register": ((427, 427), 1, (0, 1)),
}
# The same, of the process that is to be judged: never with a descriptor of the channel's number, whose inode is a number of the
# whole kernel. A lock or a lease on a file of the library would be seen by the programs of other workers.
_ON_DESCRIPTORS: dict[str, tuple[int | None, int | None]] = {
    "fstat": (5, 80), "newfstatat": (262, 79), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
}  # fmt: skip
_FCNTL = (72, 25)
_F_COMMANDS = (0, 1, 2, 3, 4, 6, 7, 9, 11, 37, 38, 1030, 1031, 1032)
"""Neither F_GETLK, leases and F_NOTIFY, nor F_SETOWN and F_SETSIG: those stay with an open file, as the pipes of a stdin
program are for all of its cases."""
_FLOCK = (73, 32)  # does nothing, and says that it has: a program that is told of a failure may be an honest one
_MKNOD = (((133, None), 1), ((259, 33), 2))  # and which argument says what is made
_TYPE, _FIFO = 0xF000, 0x1000
# Allowed but with these arguments: name → (numbers, argument index, mask, refused value under it).
_REFUSED: dict[str, tuple[tuple[int | None, int | None], int, int, int]] = {
    # Children of a process that ignores SIGCHLD are reaped by nobody, and so their CPU is nobody's.
    "rt_sigaction": ((13, 134), 0, 0xFFFFFFFF, 17),
    # Shared memory of no file: pages that are in nobody's table are in nobody's count.
    "mmap": ((9, 222), 3, 0x21, 0x21),
    # The CPU clocks of pid 1, which runs on from one program to the next.
    "clock_gettime": ((228, 113), 0, 0xFFFFFFF8, 0xFFFFFFF0), "clock_nanosleep": ((230, 115), 0, 0xFFFFFFF8, 0xFFFFFFF0),
    "timer_create": ((222, 107), 0, 0xFFFFFFF8, 0xFFFFFFF0),
}  # fmt: skip
# The zygote's, which mounts file systems for programs and watches them; nobody else has the capability, or such a descriptor.
_ZYGOTES: dict[str, tuple[int, int]] = {
    "mount": (165, 40), "umount2": (166, 39), "capset": (126, 91), "landlock_restrict_self": (446, 446),
    "inotify_add_watch": (254, 27),
}  # fmt: skip
# libc tries these and falls back when they are missing; EPERM would make it give up. A pidfd's inode number counts
# what the whole kernel has started, and the number of a mount, which statx tells, what it has mounted.
_MISSING: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435), "openat2": (437, 437), "futex_waitv": (449, 449),
    "epoll_pwait2": (441, 441), "fchmodat2": (452, 452), "fadvise64": (221, 223), "sysinfo": (99, 179), "mincore": (27, 232),
    "pidfd_open": (434, 434), "statx": (332, 291),
}  # fmt: skip
_CLONE = (56, 220)
_CLONE_NEW = 0x7E020080  # every CLONE_NEW* flag, time namespaces included
_CLONE_PIDFD, _CLONE_THREAD = 0x1000, 0x10000
_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

# The checker's, which needs no file but to read modules, starts no process, and signals nobody but itself.
_CHECKERS: dict[str, tuple[int | None, int | None]] = {
    "sendmsg": (46, 211),  # it sends each child's channel to the zygote
    "pipe": (22, None), "pipe2": (293, 59), "flock": _FLOCK, "fcntl": _FCNTL, **_ON_DESCRIPTORS,
}  # fmt: skip
_SOCKETPAIR = (53, 199)
_NOT_THE_CHECKERS = {
    "creat", "truncate", "ftruncate", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat",
    "unlink", "unlinkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "utimensat", "utimes", "futimesat", "utime",
    "fallocate", "open", "openat", "copy_file_range", "sendfile", "fork", "vfork", "kill", "tkill", "tgkill", "setsid",
    "setpgid",
}  # fmt: skip
_WRITES = 0x643  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND

_LOAD, _JEQ, _JGE, _JSET, _RET, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_Numbers = tuple["int | None", "int | None"]


def _op(code: int, jump_true: int, jump_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, value)


def _return(number: int) -> bytes:
    return _op(_RET, 0, 0, _ERRNO | number if number else _ALLOW)


class _Filter:
    """Rules of a filter, one after the other; what none of them names fails with EPERM."""

    def __init__(self, machine: str) -> None:
        if machine not in _ARCHES:
            raise OSError(errno.ENOSYS, f"no system call table for {machine}")
        self._column, arch = _ARCHES[machine]
        self._ops = [_op(_LOAD, 0, 0, 4), _op(_JEQ, 1, 0, arch), _op(_RET, 0, 0, _KILL), _op(_LOAD, 0, 0, 0)]
        if machine == "x86_64":  # the x32 ABI sets bit 30
            self._ops += [_op(_JGE, 0, 1, 0x40000000), _op(_RET, 0, 0, _KILL)]

    def _rule(self, numbers: _Numbers, body: list[bytes]) -> None:
        if (number := numbers[self._column]) is not None:
            self._ops += [_op(_JEQ, 0, len(body), number), *body]

    def allow(self, numbers: _Numbers) -> None:
        self._rule(numbers, [_return(0)])

    def refuse(self, numbers: _Numbers, error: int) -> None:
        self._rule(numbers, [_return(error)])

    def pretend(self, numbers: _Numbers) -> None:
        """Does nothing and returns 0."""
        self._rule(numbers, [_op(_RET, 0, 0, _ERRNO)])

    def only(self, numbers: _Numbers, argument: int, values: tuple[int, ...]) -> None:
        """Allowed where an argument has one of these values."""
        tests = [_op(_JEQ, len(values) - i, 0, value) for i, value in enumerate(values)]
        self._rule(numbers, [_op(_LOAD, 0, 0, 16 + 8 * argument), *tests, _return(errno.EPERM), _return(0)])

    def unless_equal(self, numbers: _Numbers, argument: int, mask: int, value: int) -> None:
        """Allowed where an argument under a mask has not this value."""
        body = [_op(_LOAD, 0, 0, 16 + 8 * argument), _op(_AND, 0, 0, mask), _op(_JEQ, 0, 1, value)]
        self._rule(numbers, [*body, _return(errno.EPERM), _return(0)])

    def where_equal(self, numbers: _Numbers, argument: int, mask: int, value: int) -> None:
        """Allowed where an argument under a mask has this value."""
        body = [_op(_LOAD, 0, 0, 16 + 8 * argument), _op(_AND, 0, 0, mask), _op(_JEQ, 1, 0, value)]
        self._rule(numbers, [*body, _return(errno.EPERM), _return(0)])

    def on_descriptor(self, numbers: _Numbers, refused: int, commands: tuple[int, ...]) -> None:
        """Allowed with these commands, on every descriptor but one."""
        tests = [_op(_JEQ, len(commands) - i, 0, command) for i, command in enumerate(commands)]
        body = [_op(_LOAD, 0, 0, 16), _op(_JEQ, len(commands) + 1, 0, refused), _op(_LOAD, 0, 0, 24), *tests]
        self._rule(numbers, [*body, _return(errno.EPERM), _return(0)])

    def unless_any(self, numbers: _Numbers, argument: int, mask: int) -> None:
        """Allowed where an argument has none of these bits."""
        self._rule(
            numbers, [_op(_LOAD, 0, 0, 16 + 8 * argument), _op(_JSET, 0, 1, mask), _return(errno.EPERM), _return(0)]
        )

    def with_any(self, numbers: _Numbers, argument: int, mask: int) -> None:
        """Allowed where an argument has one of these bits."""
        self._rule(
            numbers, [_op(_LOAD, 0, 0, 16 + 8 * argument), _op(_JSET, 1, 0, mask), _return(errno.EPERM), _return(0)]
        )

    def code(self, otherwise: int = errno.EPERM) -> bytes:
        return b"".join([*self._ops, _return(otherwise)])


def program(machine: str, channel: int) -> bytes:
    """The filter of the strict level for `machine` (``os.uname().machine``), where a program's channel is a descriptor of that
    number. Raises OSError where there is no table for the machine."""
    rules = _Filter(machine)
    for numbers in _ON_DESCRIPTORS.values():
        rules.unless_equal(numbers, 0, 0xFFFFFFFF, channel)
    rules.on_descriptor(_FCNTL, channel, _F_COMMANDS)
    rules.pretend(_FLOCK)
    for numbers in (*_CALLS.values(), *_ZYGOTES.values()):
        rules.allow(numbers)
    for numbers in _MISSING.values():
        rules.refuse(numbers, errno.ENOSYS)
    for numbers, argument, values in _CHECKED.values():
        rules.only(numbers, argument, values)
    for numbers, argument, mask, value in _REFUSED.values():
        rules.unless_equal(numbers, argument, mask, value)
    for numbers, argument in _MKNOD:
        rules.where_equal(numbers, argument, _TYPE, _FIFO)
    rules.unless_any(_CLONE, 0, _CLONE_NEW | _CLONE_PIDFD)
    return rules.code()


def checkers_program(machine: str, pid: int) -> bytes:
    """The filter of the checker, at every level: threads but no processes, files to read but none to write, no sockets but
    connected pairs, and signals to itself alone. Raises OSError as `program`."""
    rules = _Filter(machine)
    for name, numbers in (_CALLS | _CHECKERS).items():
        if name not in _NOT_THE_CHECKERS:
            rules.allow(numbers)
    rules.only(_SOCKETPAIR, 0, (1,))  # AF_UNIX
    for numbers in _MISSING.values():
        rules.refuse(numbers, errno.ENOSYS)
    for numbers, argument, values in _CHECKED.values():
        rules.only(numbers, argument, values)
    for numbers, argument, mask, value in _REFUSED.values():
        rules.unless_equal(numbers, argument, mask, value)
    rules.unless_any(_CALLS["open"], 1, _WRITES)
    rules.unless_any(_CALLS["openat"], 2, _WRITES)
    for name in ("kill", "tgkill"):
        rules.only(_CALLS[name], 0, (pid,))
    rules.with_any(_CLONE, 0, _CLONE_THREAD)
    return rules.code()


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class Ready:
    """A filter made ready: `install` allocates nothing, so that it may come after what looks at memory."""

    def __init__(self, code: bytes) -> None:
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        self._code = ctypes.create_string_buffer(code, len(code))
        self._program = _Program(len(code) // 8, ctypes.cast(self._code, ctypes.c_void_p))
        self._reference = ctypes.byref(self._program)

    def install(self) -> None:
        """Filters this process and all it will fork, for good. Raises OSError."""
        if self._prctl(38, 1, 0, 0, 0) or self._prctl(22, 2, self._reference, 0, 0):  # NO_NEW_PRIVS, SECCOMP
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


def install(code: bytes) -> None:
    Ready(code).install()
