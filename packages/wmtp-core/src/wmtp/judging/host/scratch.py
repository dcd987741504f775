"""Folders of a judge in the system's folder for temporary files, and what killed processes have left of theirs."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import subprocess
import tempfile
import time
from pathlib import Path

PREFIX = "wmtp-judge-"
SETTLED_SECONDS = 60.0  # after so long whoever made a folder has locked it too


class Scratch:
    """A folder of ours until `remove`, or until this process ends in whatever way: it is locked as long as somebody has it."""

    def __init__(self) -> None:
        _remove_left_ones()
        self.path = tempfile.mkdtemp(prefix=PREFIX)
        os.chmod(self.path, 0o700)  # whatever the umask
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it and all that is in it. A second call does nothing."""
        if self._lock >= 0:
            remove(self.path)
            os.close(self._lock)
            self._lock = -1


@functools.cache  # once a process
def _remove_left_ones() -> None:
    """Removes this user's folders that nobody has locked."""
    before = time.time() - SETTLED_SECONDS
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_uid != os.getuid() or status.st_ctime > before:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(str(path))
            finally:
                os.close(lock)


def remove(folder: str) -> None:
    """Removes a folder. At level process a program may have nested deep or taken its own rights away."""
    if not os.path.isdir(folder):
        return
    with contextlib.suppress(OSError):
        os.rmdir(folder)
        return
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", folder], check=False, stderr=subprocess.DEVNULL)
