"""Installed distributions that candidates may import: what ``judging.packages`` names, and nothing beside it."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Sequence

import attrs

from wmtp.errors import JudgeError


@attrs.frozen
class Package:
    """One distribution, as it is installed here."""

    name: str
    version: str
    entries: tuple[str, ...]
    """Absolute paths of its top-level folders and files, ``numpy.libs`` included."""
    modules: tuple[str, ...]
    """What can be imported of it."""


def find(names: Sequence[str]) -> tuple[Package, ...]:
    """The named distributions. Raises JudgeError for one that is not installed, or not as files (an editable one)."""
    return tuple(_find(name) for name in names)


def _find(name: str) -> Package:
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise JudgeError(
            f"judging.packages: {name!r} is not installed here; `pip install {name}`, or leave it out"
        ) from None
    tops = sorted({file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")})
    entries = [top for top in tops if not top.endswith((".dist-info", ".egg-info", ".pth"))]
    modules = [entry.split(".")[0] for entry in entries if entry.endswith((".py", ".so")) or entry.isidentifier()]
    if not modules or any(entry.startswith("__editable__") for entry in entries):
        raise JudgeError(f"judging.packages: {name!r} is installed in editable form, which candidates cannot be given")
    paths = tuple(os.path.realpath(str(found.locate_file(entry))) for entry in entries)
    return Package(found.metadata["Name"], found.version, paths, tuple(sorted(set(modules))))
