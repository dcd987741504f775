"""What a folder in transformers format has to predict further tokens with: found before the trunk is loaded, built after."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import torch
from torch import Tensor

from wmtp.contracts.architectures import ArchitectureSpec, HeadsFound
from wmtp.errors import ResourceError
from wmtp.models.architectures.found import (
    Found,
    Stored,
    declared_modules,
    find_modules,
    model_types,
    module_names,
    stored_tensors,
    trunk_layers,
)
from wmtp.models.architectures.module import SequentialModules, build_modules
from wmtp.models.architectures.reading import look_at_tensor, read_tensor, whole_numbers
from wmtp.models.architectures.trunk import Trunk
from wmtp.models.weight_files import INDEX


@attrs.frozen(eq=False)
class StoredModules:
    """Modules that can be run, not read yet: most runs need none of them.

    Attributes:
        spec: the family's record.
        count: how many there are.
        open: reads them, the first time that it is called.
    """

    spec: ArchitectureSpec
    count: int
    open: Callable[[], SequentialModules]


@attrs.frozen(eq=False)
class Checkpoint:
    """A folder, looked at: what is stored, and what of it are modules.

    Attributes:
        folder: in transformers format.
        config: the content of its config.json.
        stored: its tensors by name.
        found: its modules.
        specs: the records that were asked.
    """

    folder: Path
    config: Mapping[str, Any]
    stored: Stored
    found: Found
    specs: tuple[ArchitectureSpec, ...]

    @classmethod
    def look(cls, folder: Path, specs: Sequence[ArchitectureSpec]) -> Checkpoint:
        """Raises ResourceError for a config.json, an index or a file that cannot be read, and for missing trunk tensors."""
        config = _read_config(folder)
        stored = stored_tensors(folder)
        absent = [name for names in stored.absent.values() for name in names]
        found = find_modules([*stored.files, *absent], config, specs)
        for file, names in stored.absent.items():
            if lost := [name for name in names if name not in found.names]:
                raise ResourceError(
                    f"{folder / file} {stored.fault(file)}: {INDEX} says that it holds {lost[0]}"
                    + (f" and {len(lost) - 1} more tensors" if len(lost) > 1 else "")
                    + (". Fetch it again" if file in stored.damaged else ". Fetch it as well")
                )
        return cls(folder, config, stored, found, tuple(specs))

    def is_module(self, name: str) -> bool:
        """Whether a tensor's name, as transformers reports it, belongs to modules: stored so, or joined of stored ones."""
        if name in self.found.names:
            return True
        return bool(module_names([name, *self.found.names], trunk_layers(self.config), self.specs) - self.found.names)

    def whole_numbers(self, wanted: Set[str]) -> str:
        """The first of these names that is stored as integers or booleans, and as what; empty where none is."""
        paths = sorted(set(self.stored.files.values()))
        return next((told for path in paths if (told := whole_numbers(path, wanted))), "")

    @contextmanager
    def loadable(self) -> Iterator[Path]:
        """The folder, or one beside it that names no files that are not there (they hold modules alone), and no adapter:
        transformers would load that one's base in the model's stead.
        """
        kept_back = {INDEX} if self.stored.absent else set()
        if (self.folder / "adapter_config.json").is_file():
            kept_back.add("adapter_config.json")
        if not kept_back:
            yield self.folder
            return
        with TemporaryDirectory(prefix="wmtp-") as place:
            for path in self.folder.iterdir():
                if path.name not in kept_back | set(self.stored.damaged):
                    os.symlink(path.resolve(), Path(place, path.name))
            if self.stored.absent:
                index = json.loads((self.folder / INDEX).read_bytes())
                index["weight_map"] = {n: f for n, f in index["weight_map"].items() if f not in self.stored.absent}
                Path(place, INDEX).write_text(json.dumps(index), encoding="utf-8")
            yield Path(place)

    def trunk_type(self) -> str:
        """The ``model_type`` of transformers to run the trunk with, where config.json's own is not known there."""
        types = model_types(self.config)
        return next((spec.trunk for spec in self.specs if spec.trunk and types & set(spec.model_types)), "")

    def open(self, model: Any) -> tuple[StoredModules | None, HeadsFound]:
        """The modules behind a loaded trunk, where they can be run, and what was found of such.

        Names, shapes and norms are checked here, and no other weight is read. Modules that cannot be run are told, and never
        keep the trunk from it.
        """
        if extra := getattr(model, "extra_heads", None):
            return None, HeadsFound(family="parallel", modules=len(extra), declared=len(extra), used=True)
        declared = declared_modules(self.config, self.specs)
        spec, modules = self.found.spec, self.found.modules
        told = HeadsFound(family=spec.name if spec else "", modules=len(modules), declared=declared)
        if why := self._unusable():
            unknown = bool(self.found.names) and (spec is None or not modules)
            return None, attrs.evolve(told, family="unknown" if unknown else told.family, why=why)
        if spec is None:
            return None, told
        told = attrs.evolve(told, convention=str(spec.convention))
        try:
            trunk = Trunk(model)
            build_modules(trunk, spec, modules, self._shape)
            norms = [self._read_finite(name) for name in self._norms()]
        except (ResourceError, AttributeError, TypeError) as error:
            return None, attrs.evolve(told, why=f"not used: {error}")
        opened = cache(partial(build_modules, trunk, spec, modules, self._read_finite))
        return StoredModules(spec, len(modules), opened), attrs.evolve(
            told, used=True, why=self._doubts(spec, declared, norms)
        )

    def _unusable(self) -> str:
        spec, modules, names = self.found.spec, self.found.modules, self.found.names
        declared = declared_modules(self.config, self.specs) or 0
        if not names:
            if declared:
                return (
                    f"config.json declares {_count(declared)}, but no tensors of such are stored: nothing to draft with"
                )
            return ""
        if absent := sorted(f for f, held in self.stored.absent.items() if set(held) & names):
            again = "again" if set(absent) & set(self.stored.damaged) else "as well"
            return f"not used: {'; '.join(f'{f} {self.stored.fault(f)}' for f in absent)}, which holds them; fetch it {again}"
        if spec is None or not modules:
            some = ", ".join(sorted(names)[:3])
            return f"not used: {len(names)} tensors of modules of no known family ({some} …)"
        if spec.refusal:
            return f"not used: {spec.refusal}"
        if self.found.strange:
            return f"not used: {spec.name} has no place for {', '.join(self.found.strange[:3])}"
        return ""

    def _norms(self) -> list[str]:
        """Names of the norms in front of the modules' projections."""
        return [n for module in self.found.modules for role in ("enorm", "hnorm") for n in module.roles[role].values()]

    def _doubts(self, spec: ArchitectureSpec, declared: int | None, norms: Sequence[Tensor]) -> str:
        doubts, modules = [], self.found.modules
        if not model_types(self.config) & set(spec.model_types):
            doubts.append(
                f"taken for {spec.name} by the names of their tensors; no record is for model type "
                f"{' or '.join(sorted(model_types(self.config))) or 'unknown'}"
            )
        if declared is not None and declared != len(modules):
            doubts.append(f"config.json declares {_count(declared)}, and {len(modules)} stored")
        if all(_untouched(norm) for norm in norms):
            doubts.append("they look untrained: every weight of their norms is what it is before training")
        return "; ".join(doubts)

    def read(self, name: str) -> Tensor:
        """A stored tensor."""
        return read_tensor(self.stored.files[name], name)

    def _read_finite(self, name: str) -> Tensor:
        tensor = self.read(name)
        if tensor.dtype in _NUMBERS and not all(map(torch.isfinite, tensor.aminmax())):
            raise ResourceError(f"{self.stored.files[name].name}: {name} holds something that is no number")
        return tensor

    def _shape(self, name: str) -> Tensor:
        """The tensor without its content. Raises ResourceError for a weight of integers, which lacks what scales it."""
        found, kind = look_at_tensor(self.stored.files[name], name)
        if name.endswith("weight") and kind:
            raise ResourceError(f"{self.stored.files[name].name}: {name} is stored as {kind}, not as numbers")
        return found


_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _untouched(weight: Tensor) -> bool:
    return bool(torch.all(weight == 1)) or bool(torch.all(weight == 0))


def _count(number: int) -> str:
    return f"{number} multi-token-prediction module" + ("s" if number != 1 else "")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResourceError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ResourceError(f"{path} holds no object")
    return found


def copy_modules(source: Path, destination: Path, specs: Sequence[ArchitectureSpec]) -> int:
    """Puts the stored modules of one checkpoint beside the trunk in another, as they are; returns how many tensors.

    `save_pretrained` loses them: transformers does not know that they are there. The destination gets a file of its own for
    them and an index that names it.
    """
    checkpoint = Checkpoint.look(source, specs)
    names = sorted(name for name in checkpoint.found.names if name in checkpoint.stored.files)
    return add_tensors(destination, {name: checkpoint.read(name) for name in names})


def add_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> int:
    """Puts tensors that are not there beside those of a checkpoint, in a file of their own; returns how many."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    there = stored_tensors(folder)
    added = {name: tensor for name, tensor in tensors.items() if name not in there.files}
    if not added:
        return 0
    file = "model-mtp.safetensors"
    save_file(added, str(folder / file), metadata={"format": "pt"})
    weight_map = {name: path.name for name, path in there.files.items()} | dict.fromkeys(added, file)
    size = sum(t.numel() * t.element_size() for t in added.values())
    for path in set(there.files.values()):
        with safe_open(str(path), framework="pt") as opened:
            size += sum(_bytes(opened, name) for name in opened.keys())  # noqa: SIM118
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return len(added)


def _bytes(opened: Any, name: str) -> int:
    tensor = opened.get_tensor(name)
    return int(tensor.numel() * tensor.element_size())
