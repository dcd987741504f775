"""Meta's layout → transformers format, once, so that the next start maps safetensors."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from wmtp.errors import ConfigError
from wmtp.models import meta
from wmtp.models.load import choose_dtype


def convert(source: Path, destination: Path, *, variant: str | None = None, dtype: str = "auto") -> Path:
    """Writes `destination` whole or not at all. Raises ConfigError if it exists, ResourceError for a damaged source."""
    if destination.exists():
        raise ConfigError(f"{destination} exists; choose another folder, or remove it first")
    if (source / "config.json").is_file():
        raise ConfigError(f"{source} is in transformers format already; it needs no conversion")
    folder = meta.choose(source, variant)
    model = meta.load_meta(folder, dtype=choose_dtype(dtype), device="cpu")
    model.config.variant = meta.variant_name(folder, source, variant)
    tokenizer = meta.load_tokenizer(folder, model.config.vocab_size)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return destination
