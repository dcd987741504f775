"""Any layout that `load_model` reads → transformers format with safetensors, once, so that the next start maps it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wmtp.contracts.architectures import ArchitectureSpec
from wmtp.errors import ConfigError
from wmtp.models import meta
from wmtp.models.adapter import Adapter, is_adapter
from wmtp.models.load import choose_dtype, load_model


def convert(
    source: Path,
    destination: Path,
    *,
    variant: str | None = None,
    dtype: str = "auto",
    architectures: Sequence[ArchitectureSpec] = (),
) -> Path:
    """Writes `destination` whole or not at all.

    Multi-token-prediction modules behind a trunk go along, under the names that they have.

    Args:
        source: in Meta's layout, with a GGUF file, with pytorch_model.bin, or an adapter whose base is a folder here.
        destination: a folder that is not there yet.
        variant: one of several in a source. dtype: of the weights; ``auto``: as they are.
        architectures: records by which modules are known.

    Raises:
        ConfigError: the destination is there, or the source is what it would become.
        ResourceError: the source is damaged.
    """
    if destination.exists():
        raise ConfigError(f"{destination} exists; choose another folder, or remove it first")
    adapter = is_adapter(source)
    if (source / "config.json").is_file() and not adapter and dtype == "auto" and any(source.glob("*.safetensors")):
        raise ConfigError(
            f"{source} is in transformers format already; it needs no conversion (--dtype would change it)"
        )
    model, tokenizer = _loaded(source, variant, dtype, architectures)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        _keep_modules(_trunk(source) if adapter else source, temporary, architectures)
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return destination


def _loaded(
    source: Path, variant: str | None, dtype: str, architectures: Sequence[ArchitectureSpec]
) -> tuple[Any, Any]:
    others = ("config.json", "adapter_config.json", "*.gguf")
    if any(True for pattern in others for _ in source.glob(pattern)):
        loaded = load_model(source, variant=variant, device="cpu", dtype=dtype, architectures=architectures)
        if "quantised" in loaded.identity:
            raise ConfigError(f"{source} is quantised ({loaded.identity['quantised']}); it is run as it is")
        return loaded.model, loaded.tokenizer
    folder = meta.choose(source, variant)
    model = meta.load_meta(folder, dtype=choose_dtype(dtype), device="cpu")
    model.config.variant = meta.variant_name(folder, source, variant)
    return model, meta.load_tokenizer(folder, model.config.vocab_size)


def _trunk(folder: Path) -> Path:
    """The model that an adapter, and what that one may be an adapter of, belongs to."""
    return _trunk(Path(Adapter.look(folder).base)) if is_adapter(folder) else folder


def _keep_modules(source: Path, destination: Path, architectures: Sequence[ArchitectureSpec]) -> None:
    """transformers drops the modules behind a trunk when it saves one."""
    from wmtp.models.architectures.load import copy_modules

    if (source / "config.json").is_file():
        copy_modules(source, destination, architectures)
