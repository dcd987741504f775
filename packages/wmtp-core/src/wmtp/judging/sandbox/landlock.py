"""Landlock rules: which files a process and its children reach, and whom they may signal. Standard library only."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

_CREATE, _ADD, RESTRICT = 444, 445, 446
READ_FILE, READ_FOLDER, EXECUTE = 1 << 2, 1 << 3, 1 << 0
READ = EXECUTE | READ_FILE | READ_FOLDER
DEVICE = (1 << 1) | READ_FILE
EVERYTHING = (1 << 16) - 1
_OF_FILE = EXECUTE | (1 << 1) | READ_FILE | (1 << 14) | (1 << 15)
_libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: object) -> int:
    """A system call that libc has no function for: its result, below 0 where it failed."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *converted))


def check(result: int, what: str) -> int:
    """`result`, or OSError where a call failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def abi() -> int:
    """What this kernel's Landlock can do; raises OSError where there is none."""
    return check(syscall(_CREATE, None, 0, 1), "landlock (is it enabled in this kernel?)")


def rules(allowed: Iterable[tuple[str, int]]) -> int:
    """A ruleset, as a descriptor: what `allowed` names (path, access below it) and nothing else, no TCP, no signals or abstract
    sockets to outside, as far as this kernel can."""
    can = abi()
    every = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        every |= (1 << bit) if can >= since else 0
    ruleset = _ruleset(can, every, network=3 if can >= 4 else 0)
    for path, access in allowed:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        wanted = access & every & (-1 if os.path.isdir(path) else _OF_FILE)
        rule = ctypes.create_string_buffer(struct.pack("=QI", wanted, handle), 12)
        check(syscall(_ADD, ruleset, 1, rule, 0), f"landlock_add_rule {path}")
        os.close(handle)
    check(_libc.prctl(38, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    return ruleset


def _ruleset(can: int, files: int, *, network: int) -> int:
    size = 24 if can >= 6 else 16 if can >= 4 else 8
    wanted = struct.pack("=3Q", files, network, 3 if can >= 6 else 0)
    buffer = ctypes.create_string_buffer(wanted[:size], size)
    return check(syscall(_CREATE, buffer, ctypes.c_size_t(size), 0), "landlock_create_ruleset")


def restrict(ruleset: int) -> None:
    """Takes on rules, for good."""
    check(syscall(RESTRICT, ruleset, 0), "landlock_restrict_self")


def signal_rules() -> int | None:
    """A ruleset under which a process and its descendants reach no process outside them, neither by signals and abstract
    sockets nor by tracing, and whatever file they could before. None where the kernel cannot (Landlock ABI 6, Linux 6.12)."""
    can = syscall(_CREATE, None, 0, 1)
    if can < 6:
        return None
    ruleset = _ruleset(can, 0, network=0)
    check(_libc.prctl(38, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    return ruleset
