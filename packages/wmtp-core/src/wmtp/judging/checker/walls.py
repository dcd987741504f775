"""The checker behind walls of its own, at every level: tests are programs too, and come from whoever made the data set.

It reads the standard library and the distributions that `judging.packages` names, and nothing else; it writes no file, opens
no socket, starts no process and signals nobody. What it needs beside that it has got before: the sockets that lead to the
parent and to the zygote. Standard library only.
"""

from __future__ import annotations

import errno
import importlib.machinery
import importlib.util
import os
import socket
import sys
import threading
import types
from collections.abc import Callable, Sequence

from wmtp.judging.sandbox import landlock, libraries, lockdown, seccomp


class _Distributions:
    """Finds the modules of some distributions where they are installed, and nothing that lies beside them."""

    def __init__(self, entries: Sequence[str]) -> None:
        names = {entry: os.path.basename(entry) for entry in entries}
        # numpy.libs, say, is a folder that nobody imports.
        self._entries = {n.split(".")[0]: e for e, n in names.items() if os.path.isfile(e) or n.isidentifier()}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        entry = self._entries.get(name)
        if entry is None or path is not None:
            return None
        if os.path.isfile(entry):
            return importlib.util.spec_from_file_location(name, entry)
        start = f"{entry}/__init__.py"
        if os.path.isfile(start):
            return importlib.util.spec_from_file_location(name, start, submodule_search_locations=[entry])
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [entry]
        return spec


def lend(entries: Sequence[str]) -> None:
    """Lets tests import distributions, given by the real paths of their folders and files."""
    if entries:
        sys.meta_path.append(_Distributions(entries))


def _readable(found: libraries.Libraries, entries: Sequence[str]) -> list[tuple[str, int]]:
    """What the checker may read, for Landlock, which has no way to take a folder out of what it allows."""
    allowed = [(path, landlock.READ) for path in (*found.shared_objects, *entries)]
    for folder in found.folders:
        inside = [f"{folder}/{name}" for name in os.listdir(folder)]
        allowed.append((folder, landlock.READ_FOLDER))
        allowed += [(path, landlock.READ) for path in inside if path not in found.hidden and os.path.exists(path)]
    return allowed


def build(found: libraries.Libraries, entries: Sequence[str]) -> str:
    """Builds the walls around this process, for good → ``""``, or which of them cannot be had here."""
    lockdown.hide_memory()
    missing = []
    try:
        landlock.restrict(landlock.rules(_readable(found, entries)))
    except OSError as error:
        missing.append(str(error))
    try:
        seccomp.install(seccomp.checkers_program(os.uname().machine, os.getpid()))
    except OSError as error:
        missing.append(str(error))
    return "; ".join(missing)


def _refused(action: Callable[[], object], *numbers: int) -> bool:
    try:
        action()
    except OSError as error:
        return error.errno in numbers
    return False


def _start() -> None:
    """Forks; the child, where there is one, must not go on as a second checker."""
    if os.fork() == 0:
        os._exit(0)


def probe() -> dict[str, str]:
    """Layer → ``""`` if it holds for this process, else what it can do that it should not."""
    files, network, processes = (errno.EACCES,), (errno.EPERM,), (errno.EPERM,)
    thread = threading.Thread(target=int)  # that tests may start
    thread.start()
    thread.join()
    found: dict[str, dict[str, tuple[Callable[[], object], tuple[int, ...]]]] = {
        "the checker's files": {
            "see files of the host": (lambda: os.listdir("/"), files),
            "read files of the host": (lambda: os.open("/proc/self/status", os.O_RDONLY), files),
            "write files": (lambda: os.open("/dev/null", os.O_WRONLY), (*files, errno.EPERM)),
        },
        "the checker's network": {"open sockets": (socket.socket, network)},
        "the checker's processes": {
            "start processes": (_start, processes),
            "signal others": (lambda: os.kill(os.getppid(), 0), processes),
        },
    }
    return {
        layer: ", ".join(f"it can {what}" for what, (action, errors) in checks.items() if not _refused(action, *errors))
        for layer, checks in found.items()
    }
