"""The parts of a causal language model of transformers that modules lean on: embedding, layers, final norm, output matrix."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from wmtp.errors import ResourceError

_NORMS = ("norm", "final_layernorm", "norm_f", "final_norm", "ln_f")


class Trunk:
    """A causal language model, taken apart. It owns nothing: the model stays as it is.

    Attributes:
        model: the model itself.
        layers: its decoder layers.
        norm: the norm behind the last layer.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._base = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
        norm = next((getattr(self._base, name) for name in _NORMS if hasattr(self._base, name)), None)
        layers = getattr(self._base, "layers", None)
        if norm is None or layers is None or model.get_output_embeddings() is None:
            raise ResourceError(f"{type(model).__name__} has no layers and final norm where they are looked for")
        self.norm: nn.Module = norm
        self.layers: nn.ModuleList = layers
        self.config: Any = model.config.get_text_config()

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype  # type: ignore[no-any-return]

    def embed(self, ids: Tensor) -> Tensor:
        """[…] → [… , hidden]"""
        return self.model.get_input_embeddings()(ids)  # type: ignore[no-any-return]

    def project(self, states: Tensor) -> Tensor:
        """States behind a norm, [… , hidden] → logits [… , vocabulary]."""
        return self.model.get_output_embeddings()(states)  # type: ignore[no-any-return]

    def layer_type(self, index: int) -> str:
        """What kind of attention a layer has, as the configuration names it."""
        types = getattr(self.config, "layer_types", None) or getattr(self.config, "layers_block_type", None)
        return str(types[index]) if types and index < len(types) else "full_attention"

    def window(self, kind: str) -> int | None:
        """How many positions back a layer of this kind sees, itself included; ``None``: all."""
        return int(self.config.sliding_window) if kind == "sliding_attention" and self.config.sliding_window else None

    def rotate(self, states: Tensor, positions: Tensor, kind: str) -> Any:
        """What a layer of this kind takes for ``position_embeddings``."""
        rotary = getattr(self._base, "rotary_emb", None)
        if rotary is None:
            return None
        by_kind = isinstance((getattr(self.config, "rope_parameters", None) or {}).get(kind), dict)
        if by_kind and "layer_type" in inspect.signature(rotary.forward).parameters:
            return rotary(states, position_ids=positions, layer_type=kind)
        return rotary(states, position_ids=positions)

    def run(self, **inputs: Any) -> tuple[Tensor, Tensor]:
        """One forward of the model without its output matrix.

        Returns:
            The states before the final norm and behind it, [rows, width, hidden] each.
        """
        with self.listening() as heard:
            self._base(**inputs)
        return heard[-1]

    @contextmanager
    def listening(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Of every forward that is run inside: the states before the final norm and behind it, as `run` returns them."""
        heard: list[tuple[Tensor, Tensor]] = []
        handle = self.norm.register_forward_hook(lambda _, args, out: heard.append((args[0], out)))
        try:
            yield heard
        finally:
            handle.remove()
