"""Which tensors of a checkpoint belong to multi-token-prediction modules: read from names alone, before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wmtp.contracts.architectures import ArchitectureSpec
from wmtp.errors import ResourceError
from wmtp.models.architectures.reading import names_in
from wmtp.models.weight_files import indexed, weight_files

_MODULE = re.compile(r"(^|\.)(mtp|nextn)[._\d]|(^|\.)mtp$")
_LAYER = re.compile(r"(^|\.)layers\.(\d+)\.")
_MARKS = ("eh_proj", "enorm", "hnorm")
_I, _DIGITS = re.escape("{i}"), r"\d+"


@attrs.frozen
class Stored:
    """The tensors of a folder, by name.

    Attributes:
        files: name → the file that holds it.
        absent: file that the index names and that cannot be read → the names it should hold.
        damaged: of these, files that are there → what is wrong with them.
    """

    files: Mapping[str, Path]
    absent: Mapping[str, tuple[str, ...]]
    damaged: Mapping[str, str] = {}

    def fault(self, file: str) -> str:
        """What is wrong with an absent file, in words."""
        return self.damaged.get(file, "is missing")


@attrs.frozen
class ModuleTensors:
    """The stored names of one module.

    Attributes:
        roles: role → what is left of a name behind its beginning → the stored name: ``{"enorm": {"weight": "mtp.0.…"}}``.
    """

    roles: Mapping[str, Mapping[str, str]]


@attrs.frozen
class Found:
    """Modules that a checkpoint holds.

    Attributes:
        spec: the family's record; ``None`` where none fits.
        modules: their tensors, one entry a module.
        names: every stored name that belongs to modules.
        strange: of these, names that the record has no place for.
    """

    spec: ArchitectureSpec | None
    modules: tuple[ModuleTensors, ...]
    names: frozenset[str]
    strange: tuple[str, ...] = ()


def stored_tensors(folder: Path) -> Stored:
    """The names that the safetensors files of a folder hold, or, where there are none, its pytorch_model.bin files.

    Raises:
        ResourceError: a file is damaged, and no index says what it should hold; or the index is.
    """
    from safetensors import SafetensorError

    named = indexed(folder)
    files: dict[str, Path] = {}
    damaged: dict[str, str] = {}
    for path in weight_files(folder):
        try:
            files.update(dict.fromkeys(names_in(path), path))
        except (SafetensorError, OSError) as error:
            damaged[path.name] = f"is cut off or damaged ({error})"
            if path.name not in named:
                raise ResourceError(f"{path} cannot be loaded: it {damaged[path.name]}; fetch it again") from None
    absent = {file: names for file, names in named.items() if file in damaged or not (folder / file).is_file()}
    return Stored(files, absent, damaged)


def find_modules(names: Iterable[str], config: Mapping[str, Any], specs: Sequence[ArchitectureSpec]) -> Found:
    """Sorts out the names that belong to modules, and the family that they are of.

    The record for config.json's ``model_type`` goes first; behind it, the first record that has a place for every name.
    """
    layers = trunk_layers(config)
    mine = module_names(names, layers, specs)
    if not mine:
        return Found(None, (), frozenset())
    types = model_types(config)
    ordered = sorted(specs, key=lambda spec: not types & set(spec.model_types))
    fits = [_fit(spec, mine, layers) for spec in ordered]
    named = [f for f in fits if f.modules and f.spec is not None and types & set(f.spec.model_types)]
    whole = [f for f in fits if f.modules and not f.strange]
    return next(iter([*named, *whole]), Found(None, (), mine))


def module_names(names: Iterable[str], layers: int, specs: Sequence[ArchitectureSpec]) -> frozenset[str]:
    """Those of the names that belong to modules: named so, or in a layer behind the trunk's that has a module's projection.

    A layer too many without such a projection is no module: that checkpoint and its config.json do not belong together.
    """
    names = list(names)
    behind = {m[2] for name in names if any(mark in name for mark in _MARKS) and (m := _LAYER.search(name))}
    behind = {number for number in behind if int(number) >= layers}
    starts = {start for spec in specs for start in spec.tensors if "{layer}" not in start}
    known = re.compile("|".join([_MODULE.pattern, *(rf"^{re.escape(s).replace(_I, _DIGITS)}" for s in sorted(starts))]))
    return frozenset(n for n in names if known.search(n) or ((m := _LAYER.search(n)) and m[2] in behind))


def _fit(spec: ArchitectureSpec, names: frozenset[str], layers: int) -> Found:
    patterns = sorted(
        ((_pattern(start), role) for start, role in spec.tensors.items()), key=lambda p: -len(p[0].pattern)
    )
    modules: dict[int, dict[str, dict[str, str]]] = {}
    shared: dict[str, dict[str, str]] = {}
    strange = []
    for name in sorted(names):
        match, role = next(((m, role) for pattern, role in patterns if (m := pattern.match(name))), (None, ""))
        number = -1 if match is None else _number(match, layers)
        if match is None or number is None:
            strange.append(name)
            continue
        place = shared if number < 0 else modules.setdefault(number, {})
        place.setdefault(role, {})[name[match.end() :]] = name
    count = max(modules, default=-1) + 1
    full = [{**shared, **modules.get(i, {})} for i in range(count)]
    if not full or not all("block" in roles and "eh_proj" in roles for roles in full):
        return Found(spec, (), names, tuple(strange))
    return Found(spec, tuple(ModuleTensors(roles) for roles in full), names, tuple(strange))


def _pattern(start: str) -> re.Pattern[str]:
    text = re.escape(start).replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{layer\}", r"(?P<layer>\d+)")
    return re.compile(text)


def _number(match: re.Match[str], layers: int) -> int | None:
    """The module's number; −1 for a tensor of all modules, ``None`` for a layer of the trunk."""
    groups = match.groupdict()
    if "layer" in groups:
        number = int(groups["layer"]) - layers
        return number if number >= 0 else None
    return int(groups.get("i", -1))


def trunk_layers(config: Mapping[str, Any]) -> int:
    """Layers of the trunk, as config.json has them; 2³⁰ where it does not say, so that no layer is behind it."""
    for part in (_text_config(config), config):
        for key in ("num_hidden_layers", "num_layers", "n_layer"):
            if isinstance(part.get(key), int):
                return int(part[key])
    return 1 << 30


def model_types(config: Mapping[str, Any]) -> set[str]:
    """``model_type`` of config.json and of its text part."""
    return {str(part["model_type"]) for part in (config, _text_config(config)) if part.get("model_type")}


def declared_modules(config: Mapping[str, Any], specs: Sequence[ArchitectureSpec]) -> int | None:
    """How many modules config.json says there are, by whichever key; ``None`` where it has none of them."""
    for key in dict.fromkeys(key for spec in specs for key in spec.declared):
        for part in (_text_config(config), config):
            value = part.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
    return None


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config
