"""Which format a model reference is in, by its words or a folder's listing: what loaders ask before anything is fetched."""

from __future__ import annotations

import re
from pathlib import Path

META_MTP_IDS = ("facebook/multi-token-prediction",)
"""Hub repositories in Meta's own layout: ``<variant>/params.json`` and ``consolidated.pth``, one tokenizer.model."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def is_meta(reference: str) -> bool:
    """Whether it is a hub repository or a folder in Meta's layout."""
    if reference in META_MTP_IDS:
        return True
    folder = Path(reference)
    if not folder.is_dir() or _whole(folder):
        return False
    return any(True for pattern in ("params.json", "*/params.json") for _ in folder.glob(pattern))


def _whole(folder: Path) -> bool:
    """Whether a model in transformers format lies here, maybe with the same one in Meta's layout below it (``original/``)."""
    weights = ("*.safetensors", "pytorch_model*.bin")
    return (folder / "config.json").is_file() and any(True for pattern in weights for _ in folder.glob(pattern))


def is_transformers(reference: str) -> bool:
    """Whether it is a folder in transformers format, or may be one: a hub id, a URL."""
    folder = Path(reference)
    if folder.is_dir():
        named = ("config.json", "adapter_config.json")
        return any((folder / name).is_file() for name in named) or any(folder.glob("*.gguf"))
    if "://" in reference:
        return True  # the listing that would tell is on the network: `transformers_model` looks at what came
    return _HUB_ID.fullmatch(reference) is not None and reference not in META_MTP_IDS
