"""What programs and tests may read: the standard library, the shared objects that it loads, time zones and locales. Nothing
that is installed beside them. Standard library only: the zygote finds out for itself, before its walls are up.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_BESIDE = ("site-packages", "dist-packages")  # what is installed
_OURS = (
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "ensurepip",
)  # of the interpreter's makers: nobody's program imports it
_DATA = ("/usr/share/zoneinfo", "/usr/lib/locale")
_ALWAYS = (
    "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libgcc_s.so.1", "libstdc++.so.6",
)  # fmt: skip


class Libraries(NamedTuple):
    """Real paths."""

    folders: tuple[str, ...]
    """Read with all that is below, but for `hidden`."""
    hidden: tuple[str, ...]
    shared_objects: tuple[str, ...]
    """Single files, under the names by which they are loaded."""


class _Loaded(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("name", ctypes.c_char_p))


def standard_folders() -> tuple[str, ...]:
    """Of the standard library, as this interpreter finds it."""
    own = os.path.dirname(os.path.realpath(os.__file__))
    dynamic = [os.path.realpath(path) for path in sys.path if path.endswith("lib-dynload")]
    return tuple(dict.fromkeys([own, *(path for path in dynamic if not path.startswith(own + "/"))]))


def hidden_folders() -> tuple[str, ...]:
    """Folders below the standard library's that are no part of it."""
    found = []
    for folder in standard_folders():
        for name in sorted(os.listdir(folder)):
            if (name in _BESIDE or name in _OURS or name.startswith("config-")) and os.path.isdir(f"{folder}/{name}"):
                found.append(f"{folder}/{name}")
    return tuple(found)


def _loaded() -> list[str]:
    """The shared objects of this process, under the names by which they were found."""
    names: list[str] = []
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.c_void_p)

    def each(loaded: ctypes._Pointer[_Loaded], size: int, data: int) -> int:
        names.append(os.fsdecode(loaded.contents.name or b""))
        return 0

    ctypes.CDLL(None).dl_iterate_phdr(kind(each), None)
    return names


def _extensions(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        if os.path.isfile(folder):
            yield folder
        for top, below, names in os.walk(folder):
            below[:] = [name for name in below if name not in _BESIDE and name not in _OURS]
            yield from (f"{top}/{name}" for name in names if name.endswith(".so") or ".so." in name)


def _load_all(packages: Iterable[str]) -> list[str]:
    for name in (*_ALWAYS, *_extensions(standard_folders()), *_extensions(packages)):
        with contextlib.suppress(OSError):  # it lacks something, so no program can load it either
            ctypes.CDLL(name)
    below = tuple(f"{folder}/" for folder in (*standard_folders(), *packages))
    names = (name for name in _loaded() if name.startswith("/"))
    found = {f"{os.path.realpath(os.path.dirname(name))}/{os.path.basename(name)}" for name in names}
    return sorted(name for name in found if os.path.isfile(name) and not name.startswith(below))


def find(packages: Iterable[str] = ()) -> Libraries:
    """Looks in a child of its own, which loads every extension module there is; this process stays as it was."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with os.fdopen(there, "w", encoding="utf-8") as file:
                json.dump(_load_all(packages), file)
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(pid, 0)
    folders = (*standard_folders(), *(folder for folder in _DATA if os.path.isdir(folder)))
    return Libraries(folders, hidden_folders(), tuple(json.loads(text or "[]")))


def contains(path: str) -> bool:
    """Whether programs can read what lies at `path`, or some of it: for a folder, whether it holds libraries."""
    real = os.path.realpath(path)

    def below(inner: str, outer: str) -> bool:
        return inner == outer or inner.startswith(outer.rstrip("/") + "/")

    folders = (*standard_folders(), *map(os.path.realpath, _DATA))
    return any(below(real, folder) for folder in folders) and not any(
        below(real, hidden) for hidden in hidden_folders()
    )


def modules() -> str:
    """A digest of the names of all modules that a program can import without `judging.packages`."""
    import hashlib  # which loads libcrypto: every child of a zygote that had it would pay for its areas

    names = set(sys.builtin_module_names)
    for folder in standard_folders():
        names |= {name.partition(".")[0] for name in os.listdir(folder) if name.endswith((".py", ".so"))}
        names |= {name for name in os.listdir(folder) if os.path.isfile(f"{folder}/{name}/__init__.py")}
    hidden = {os.path.basename(folder) for folder in hidden_folders()}
    return hashlib.sha256("\n".join(sorted(names - hidden)).encode()).hexdigest()[:12]
