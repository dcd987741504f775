"""How many positions a model was made for, as its configuration tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNBOUNDED = 1 << 20
_STRETCHED = ("dynamic", "linear", "yarn")


def rope_parameters(config: Any) -> list[Mapping[str, Any]]:
    """Those of rotary positions: of each kind of layers where they differ.

    Args:
        config: a configuration of transformers, of the part that is about text.
    """
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return [p for p in found.values() if isinstance(p, dict)] or [found]


def context_of(config: Any) -> int:
    """Positions that a model can take; a large number where its configuration names no end.

    Rotary positions that are scaled stretch an original length by their factor. ``max_position_embeddings`` has taken that in
    (DeepSeek, Llama 3.1, Phi-3) or has not (Qwen's YaRN, LongChat's linear positions); for dynamic ones it is the original
    length itself. Where nothing tells which, it counts as the original one: a text is refused where no reading allows it.

    Args:
        config: a configuration of transformers, of the part that is about text.
    """
    named = getattr(config, "max_position_embeddings", None)
    if not (isinstance(named, int) and named > 0):
        return _UNBOUNDED
    lengths = [named]
    for one in rope_parameters(config):
        kind = one.get("rope_type", one.get("type"))
        if kind in (None, "default"):
            continue
        original = one.get("original_max_position_embeddings") or getattr(
            config, "original_max_position_embeddings", None
        )
        original = original or (named if kind in _STRETCHED else None)
        if original and one.get("factor"):
            lengths.append(int(original * float(one["factor"])))
    return max(lengths)
