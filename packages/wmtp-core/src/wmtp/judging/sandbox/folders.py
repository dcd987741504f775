"""Where a program's files are, as good as new for each, and emptying what one has used. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Protocol

from wmtp.judging.sandbox import c_functions, lockdown

PROGRAM = "program"  # its folder, below the one that is cleaned
_libc = ctypes.CDLL(None, use_errno=True)
_ALL_EVENTS, _ONLY_FOLDERS = 0xFFF, 0x01000000
_NONBLOCK, _CLOEXEC = 0x800, 0x80000
EVENT_BYTES = 1 << 12
_read = c_functions.named("read", 3)


class Folder(Protocol):
    """Where the program runs that comes next."""

    def enter(self, *, keeping: bool) -> None:
        """Goes to an empty folder, as good as new. keeping: it may be left untouched, and is worth looking after."""

    def clean(self) -> None:
        """Once nothing of the program runs any more. Raises OSError where something resists."""


class HostFolder:
    """A folder of the host's, at level process. What no program has touched is kept: making one is dear on a disk."""

    def __init__(self, scratch: str) -> None:
        self._scratch, self._folder = scratch, f"{scratch}/{PROGRAM}"
        self._fresh: os.stat_result | None = None

    def enter(self, *, keeping: bool) -> None:
        if self._fresh is None:
            os.mkdir(self._folder, 0o700)
        os.utime(self._folder)
        self._fresh = os.stat(self._folder)
        os.chdir(self._folder)

    def clean(self) -> None:
        os.chdir("/")
        fresh, self._fresh = self._fresh, None
        if fresh and os.listdir(self._scratch) == [PROGRAM] and self._is_fresh(fresh):
            self._fresh = fresh
        else:
            empty(self._scratch)

    def _is_fresh(self, before: os.stat_result) -> bool:
        with contextlib.suppress(OSError):  # gone, or closed to us
            now = os.stat(self._folder)
            same = all(getattr(now, field) == getattr(before, field) for field in _KEPT)
            return same and not os.listdir(self._folder) and not os.listxattr(self._folder)
        return False


_KEPT = ("st_mode", "st_ino", "st_dev", "st_mtime_ns", "st_ctime_ns")


class OwnFileSystem:
    """A file system of each program's own, at level strict. One that no program has touched is the next one's too: mounting and
    unmounting costs more than anything else that the walls ask of the kernel.

    The kernel itself says whether it was touched, reading included (inotify): a program has no descriptor with which to change
    that. Where there is none to be had, each program gets a new one.
    """

    def __init__(self, mib: int) -> None:
        self._mib = mib
        self._folder = f"{lockdown.WORK}/{PROGRAM}"
        self._mounted = False
        self._events = int(_libc.inotify_init1(_NONBLOCK | _CLOEXEC))
        self._told = ctypes.create_string_buffer(EVENT_BYTES)
        self._look = self._events, ctypes.addressof(self._told), EVENT_BYTES

    def enter(self, *, keeping: bool) -> None:
        if self._mounted and not keeping:  # whoever uses it is not to pay for being watched
            self._unmount()
        if not self._mounted:
            lockdown.mount_work(self._mib)
            os.mkdir(self._folder, 0o700)
            os.chdir(self._folder)
            self._mounted = True
            self._watched = keeping and self._watch(lockdown.WORK) and self._watch(self._folder)
        if self._watched:  # its times are now, so that they do not tell who touched it last
            os.utime(lockdown.WORK)
            os.utime(self._folder)
            self._happened()

    def clean(self) -> None:
        if not self._watched or self._happened():
            self._unmount()

    def _unmount(self) -> None:
        self._mounted = False
        os.chdir("/")
        lockdown.unmount_work()
        while self._watched and self._happened():
            pass

    def _watch(self, folder: str) -> bool:
        return (
            self._events >= 0
            and _libc.inotify_add_watch(self._events, folder.encode(), _ALL_EVENTS | _ONLY_FOLDERS) >= 0
        )

    def _happened(self) -> bool:
        if _read(*self._look) <= 0:
            return False
        ctypes.memset(self._told, 0, EVENT_BYTES)
        return True


def empty(top: str) -> None:
    """Removes everything in `top`, folders that were closed to us included. No recursion: a program can nest deep."""
    os.chmod(top, 0o700)
    folders = [top] if os.listdir(top) else []
    for folder in folders:  # grows while we go
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                folders.append(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    for folder in reversed(folders[1:]):
        os.rmdir(folder)
