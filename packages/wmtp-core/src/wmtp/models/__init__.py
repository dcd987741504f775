"""From a model reference to a model and a tokenizer; Meta's checkpoints; the MTP model class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmtp.models.load import LoadedModel as LoadedModel
    from wmtp.models.load import load_model as load_model

__all__ = ["LoadedModel", "load_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # late, because it imports torch and transformers
        from wmtp.models import load

        return getattr(load, name)
    raise AttributeError(f"module 'wmtp.models' has no attribute {name!r}")
