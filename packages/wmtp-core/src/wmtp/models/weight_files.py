"""Which files of a folder in transformers format are its weights.

Repositories often hold the same weights twice (``consolidated.safetensors``, ``original/``, ``onnx/``). What nobody reads is
not fetched, not looked into, and no part of a model's identity.
"""

from __future__ import annotations

from pathlib import Path

from wmtp import json_text
from wmtp.errors import ResourceError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MODULES = "*mtp*.safetensors"
"""Modules in a file of their own, which the index may not name (``model_mtp.safetensors``)."""


def indexed(folder: Path, index: str = INDEX) -> dict[str, tuple[str, ...]]:
    """File → the names that it holds, as an index has it; empty where there is none.

    Raises ResourceError for a damaged index.
    """
    path = folder / index
    if not path.is_file():
        return {}
    try:
        named = json_text.loads(path.read_bytes())["weight_map"]
        pairs = [(str(name), str(file)) for name, file in named.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        kind = "safetensors" if index == INDEX else "weights"
        raise ResourceError(f"{path} is no index of {kind} ({type(error).__name__}); fetch it again") from None
    found: dict[str, list[str]] = {}
    for name, file in pairs:
        found.setdefault(file, []).append(name)
    return {file: tuple(sorted(names)) for file, names in found.items()}


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights, in order: safetensors; where there are none, pytorch_model*.bin.

    Where neither ``model.safetensors`` nor an index says which, all that are there. Raises ResourceError for a damaged index.
    """
    named = {folder / name for name in (SINGLE, *indexed(folder))}
    found = {path for path in named if path.is_file()}
    if not found:
        return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    return sorted(found | set(folder.glob(MODULES)))


def weight_patterns(folder: Path) -> tuple[str, ...]:
    """What to fetch of a folder whose small files are here. Raises ResourceError for a damaged index."""
    return (*(indexed(folder) or (SINGLE,)), MODULES)
