"""The folder of a program at level process, and emptying what a program has used. Standard library only."""

from __future__ import annotations

import contextlib
import os


def empty(top: str) -> None:
    """Removes everything in `top`, folders that were closed to us included. No recursion: a program can nest deep."""
    folders = [top]
    for folder in folders:  # grows while we go
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                folders.append(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    for folder in reversed(folders[1:]):
        os.rmdir(folder)


def fresh(path: str, before: os.stat_result | None) -> os.stat_result:
    """An empty folder whose times are now, as `is_fresh` wants it back: made, or the one that was left untouched (`before`)."""
    if before is None:
        os.mkdir(path, 0o700)
    os.utime(path)
    return os.stat(path)


def is_fresh(path: str, before: os.stat_result) -> bool:
    """Whether nothing has been done to the folder since: most programs never look at it, and making one is dear on a disk."""
    with contextlib.suppress(OSError):  # gone, or closed to us
        now = os.stat(path)
        same = all(getattr(now, field) == getattr(before, field) for field in _KEPT)
        return same and not os.listdir(path) and not os.listxattr(path)
    return False


_KEPT = ("st_mode", "st_ino", "st_dev", "st_mtime_ns", "st_ctime_ns")
