"""Single tensors of a checkpoint's files, safetensors or pytorch_model.bin, by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from wmtp.errors import first_line

log = logging.getLogger("wmtp.models")
_WHOLE = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool)


def names_in(path: Path) -> list[str]:
    """Raises SafetensorError or OSError for a damaged safetensors file; of a damaged other one there are no names, and whoever
    loads the model tells."""
    if path.suffix == ".bin":
        return list(_pickled(path))
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return list(file.keys())


def read_tensor(path: Path, name: str) -> Tensor:
    """The tensor with its content."""
    if path.suffix == ".bin":
        return _pickled(path)[name].contiguous().clone()
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return file.get_tensor(name)  # type: ignore[no-any-return]


def look_at_tensor(path: Path, name: str) -> tuple[Tensor, str]:
    """Its shape, on the meta device, and its type where that is integer or boolean; else ``""``. No content is read."""
    if path.suffix == ".bin":
        found = _pickled(path)[name]
        return torch.empty(found.shape, device="meta"), _whole(found.dtype)
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        part = file.get_slice(name)
        return torch.empty(part.get_shape(), device="meta"), _stored_whole(part.get_dtype())


def whole_numbers(path: Path, names: Set[str]) -> str:
    """The first of these names that a file holds as integers or booleans, and as what; empty where it holds none so."""
    if path.suffix == ".bin":
        kinds = ((name, _whole(tensor.dtype)) for name, tensor in _pickled(path).items() if name in names)
        return next((f"{name} as {kind}" for name, kind in kinds if kind), "")
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:  # once: each time, the names of the whole file are read
        for name in file.keys():  # noqa: SIM118
            if name in names and (kind := _stored_whole(file.get_slice(name).get_dtype())):
                return f"{name} as {kind}"
    return ""


def _whole(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.") if dtype in _WHOLE else ""


def _stored_whole(kind: str) -> str:
    return kind if kind[0] in "IUB" and kind != "BF16" else ""


def _pickled(path: Path) -> Mapping[str, Tensor]:
    status = path.stat()
    return _mapped(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _mapped(path: Path, *_stamp: int) -> Mapping[str, Tensor]:
    """A file's tensors, whose content stays on disk until it is used, but for files that are no zip archives."""
    for mapped in (True, False):
        try:
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
            return {str(name): value for name, value in held.items() if isinstance(value, Tensor)}
        except Exception as error:  # pickle and torch raise what they like for a damaged file  # noqa: BLE001
            log.debug("%s: %s: %s", path, type(error).__name__, first_line(error))
    return {}
