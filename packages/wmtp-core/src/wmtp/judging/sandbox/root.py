"""The root that programs see: a file system in memory with copies of all that they may read, the same one for every worker.

A file system on a disk remembers names that were looked for in vain, and which pages of a file are in memory: a program that
measures how long a look takes would learn what an earlier one has looked for. One in memory remembers no such name, and all of
its pages are there. It is made once, mounted by nobody, and a copy of its mount goes to each worker that starts, by way of
a descriptor; that takes Linux 6.15, and before it each worker makes one of its own. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wmtp.judging.sandbox.landlock import check, syscall
from wmtp.judging.sandbox.libraries import Libraries

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
_CLONE, _CLOEXEC, _EMPTY_PATH, _FROM_EMPTY_PATH = 1, os.O_CLOEXEC, 0x1000, 4
_SET_STRING, _CREATE, _FSMOUNT_CLOEXEC = 1, 6, 1
_HERE = -100
_RDONLY, _NOSUID, _NODEV = 1, 2, 4
_PYC = f".{sys.implementation.cache_tag}.pyc"
LARGEST = 128 << 20
"""Bytes of a folder or a file that is copied; what is larger is read where it lies."""
SPARE = 4
"""Of the memory that the machine has left, one part in so many may hold the copy."""
CANARY = "/canary"  # readable by mode, forbidden by Landlock: shows that Landlock holds


class Entry(NamedTuple):
    """A folder or a file of the host, and where programs find it."""

    source: str
    target: str


class Shared(NamedTuple):
    """A root for other workers too."""

    mount: int
    """As a descriptor."""
    bound: list[Entry]
    """What each of them mounts on it."""


class Plan(NamedTuple):
    copied: list[Entry]
    bound: list[Entry]
    """Too large to be copied: the same in every worker, but on its disk."""


def plan(found: Libraries, packages: Iterable[str], below: str) -> Plan:
    """What programs may read; packages are found `below` that folder. Raises OSError where memory has no room for the copy."""
    entries = [Entry(path, path) for path in (*found.folders, *found.shared_objects)]
    entries += [Entry(path, f"{below}/{os.path.basename(path)}") for path in packages]
    sizes = {entry: _size(entry.source, found.hidden) for entry in entries}
    copied = [entry for entry, size in sizes.items() if size <= LARGEST]
    total, spare = sum(sizes[entry] for entry in copied), _available() // SPARE
    if total > spare:
        raise OSError(
            errno.ENOMEM,
            f"the copy of the libraries that programs read takes {total >> 20} MiB, more than a quarter of the memory left",
        )
    return Plan(copied, [entry for entry in entries if entry not in copied])


def make(
    wanted: Plan, hidden: Iterable[str], folders: Iterable[str], files: Iterable[str], links: dict[str, str]
) -> int:
    """A file system of its own, read-only, as the descriptor of a mount that is in no tree: copies of `wanted`, empty `folders`
    and `files` for what is mounted there, and links. The `hidden` folders are empty."""
    context = check(syscall(_FSOPEN, ctypes.c_char_p(b"tmpfs"), 1), "fsopen(tmpfs)")
    for key, value in ((b"mode", b"0755"), (b"nr_inodes", b"0"), (b"huge", b"never")):
        check(syscall(_FSCONFIG, context, _SET_STRING, ctypes.c_char_p(key), ctypes.c_char_p(value), 0), "fsconfig")
    check(syscall(_FSCONFIG, context, _CREATE, None, None, 0), "fsconfig(tmpfs)")
    mount = check(syscall(_FSMOUNT, context, _FSMOUNT_CLOEXEC, _NOSUID | _NODEV), "fsmount(tmpfs)")
    os.close(context)
    before = os.umask(0)
    try:
        _fill(f"/proc/self/fd/{mount}", wanted, set(hidden), folders, files, links)
    finally:
        os.umask(before)
    request = ctypes.create_string_buffer(struct.pack("=4Q", _RDONLY, 0, 0, 0), 32)
    nothing = ctypes.c_char_p(b"")
    check(syscall(_MOUNT_SETATTR, mount, nothing, _EMPTY_PATH, request, ctypes.c_size_t(32)), "mount_setattr(tmpfs)")
    return mount


def lay(mount: int, where: str) -> bool:
    """Mounts a copy of it on the folder `where`; False where the kernel copies no mount that is in no tree."""
    copy = syscall(_OPEN_TREE, mount, ctypes.c_char_p(b""), _CLONE | _CLOEXEC | _EMPTY_PATH)
    if copy < 0:
        return False
    move(copy, where)
    return True


def move(mount: int, where: str) -> None:
    """Mounts it on the folder `where`, and closes the descriptor: it can be mounted nowhere else."""
    target = ctypes.c_char_p(where.encode())
    check(syscall(_MOVE_MOUNT, mount, ctypes.c_char_p(b""), _HERE, target, _FROM_EMPTY_PATH), f"move_mount {where}")
    os.close(mount)


def hand_over(control: socket.socket, made: Shared | None, shared: Shared | None) -> None:
    """Gives a new root to the parent, for other workers. This process needs no root's descriptor any more."""
    if made:
        socket.send_fds(control, [json.dumps({"bound": made.bound}).encode()], [made.mount])
    for done in filter(None, (made, shared)):
        os.close(done.mount)


def _fill(
    top: str, wanted: Plan, hidden: set[str], folders: Iterable[str], files: Iterable[str], links: dict[str, str]
) -> None:
    for path in folders:
        os.makedirs(top + path, exist_ok=True)
    for path, target in links.items():
        os.symlink(target, top + path)
    for entry in wanted.copied:
        if os.path.isdir(entry.source):
            _copy_folder(entry.source, top + entry.target, hidden)
        else:
            os.makedirs(os.path.dirname(top + entry.target), exist_ok=True)
            _copy_file(entry.source, top + entry.target)
    for entry in wanted.bound:
        if os.path.isdir(entry.source):
            os.makedirs(top + entry.target, exist_ok=True)
    for path in (*files, *(entry.target for entry in wanted.bound if not os.path.isdir(entry.source))):
        os.makedirs(os.path.dirname(top + path), exist_ok=True)
        os.close(os.open(top + path, os.O_CREAT | os.O_WRONLY, 0o444))
    with open(top + CANARY, "w", encoding="ascii") as canary:
        canary.write("seen")


def _copy_folder(source: str, target: str, hidden: set[str]) -> None:
    """With modes and times, by which the interpreter knows whether what it has read is still true."""
    os.makedirs(target, exist_ok=True)
    below = []
    for entry in _entries(source):
        there = f"{target}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), there)
        elif entry.path in hidden:
            os.mkdir(there, 0o555)
        elif entry.is_dir():
            below.append((entry.path, there))
        elif entry.is_file():
            with contextlib.suppress(PermissionError):  # so programs could not read it either
                _copy_file(entry.path, there)
    for inner, there in below:
        with contextlib.suppress(PermissionError):
            _copy_folder(inner, there, hidden)
    seen = os.stat(source)
    os.utime(target, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """But for compiled files of other interpreters and of other levels of optimisation."""
    compiled = folder.endswith("/__pycache__")
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not compiled or entry.name.endswith(_PYC))


def _copy_file(source: str, target: str) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        seen = os.fstat(reading)
        writing = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, stat.S_IMODE(seen.st_mode) & 0o555)
        try:
            while os.sendfile(writing, reading, None, 1 << 30):
                pass
            os.utime(writing, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _size(path: str, hidden: Iterable[str]) -> int:
    """Bytes in memory, whole pages."""
    page = os.sysconf("SC_PAGE_SIZE")
    if not os.path.isdir(path):
        return -(-os.path.getsize(path) // page) * page
    total, away, waiting = 0, set(hidden), [path]
    for folder in waiting:  # grows while we go
        with contextlib.suppress(PermissionError):
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False):
                    waiting += [] if entry.path in away else [entry.path]
                elif entry.is_file(follow_symlinks=False):
                    total += -(-entry.stat().st_size // page) * page
    return total


def _available() -> int:
    """Bytes of memory that the machine has left."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
