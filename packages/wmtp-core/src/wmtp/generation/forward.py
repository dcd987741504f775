"""The two ways the decoder runs a model: with extra heads, or any decoder of transformers without them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wmtp.errors import GenerationError
from wmtp.generation.cache import RaggedCache


class Forward:
    """One forward of a causal language model over ragged rows.

    run(ids, cache) takes [rows, width] and returns states; *_logits(states) projects those that are wanted. The cache has been
    told of the positions (`RaggedCache.place`).
    """

    heads = 1

    def __init__(self, model: Any) -> None:
        self._model = model
        config = model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        if kinds != {"full_attention"} or window or getattr(config, "is_encoder_decoder", False):
            raise GenerationError(
                f"{type(model).__name__} does not use full attention in every layer (sliding windows, recurrent or "
                "encoder layers); the decoder supports plain decoder-only models"
            )
        self.layers = config.num_hidden_layers
        self.vocabulary = int(config.vocab_size)
        self.context = int(getattr(config, "max_position_embeddings", 0) or 1 << 20)

    def run(self, ids: Tensor, cache: RaggedCache) -> Tensor:
        """Logits of head 0, [1, rows, width, vocabulary]."""
        out = self._model(
            input_ids=ids,
            attention_mask=cache.mask(self._model.dtype),
            position_ids=cache.positions,
            past_key_values=cache,
            use_cache=True,
        )
        return out.logits[None]  # type: ignore[no-any-return]

    def prefill(self, ids: Tensor, cache: RaggedCache) -> Tensor:
        """The states of the last position alone, [heads, 1, 1, …]: a prompt's other logits are never computed."""
        out = self._model(
            input_ids=ids,
            attention_mask=cache.mask(self._model.dtype),
            position_ids=cache.positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[None]  # type: ignore[no-any-return]

    def whole(self, ids: Tensor) -> Tensor:
        """The states of every head at every position of ids [1, width], without a cache: [heads, 1, width, …]."""
        return self._model(input_ids=ids, use_cache=False).logits[None]  # type: ignore[no-any-return]

    def target_logits(self, states: Tensor) -> Tensor:
        """Head 0 at every position: [rows, width, vocabulary]."""
        return states[0]

    def draft_logits(self, states: Tensor) -> Tensor:
        """Heads 1 … at the positions given: [heads − 1, rows, vocabulary]. states: [heads, rows, …]."""
        return states[1:]

    def without_heads(self) -> Forward:
        """The same model, decoding plainly."""
        return self


class MtpForward(Forward):
    """A model with `head_states` and `project` (`wmtp.models.mtp_llama`)."""

    def __init__(self, model: Any, heads: int) -> None:
        super().__init__(model)
        self.heads = heads
        self.layers += heads - 1

    def run(self, ids: Tensor, cache: RaggedCache) -> Tensor:
        """States of every head before norm and output, [heads, rows, width, hidden]."""
        states: Tensor = self._model.head_states(ids, cache.positions, cache.mask(self._model.dtype), cache, self.heads)
        return states

    def prefill(self, ids: Tensor, cache: RaggedCache) -> Tensor:
        return self.run(ids, cache)[:, :, -1:]

    def whole(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        hidden = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).triu(1)
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=ids.device).masked_fill_(hidden, float("-inf"))
        states: Tensor = self._model.head_states(ids, positions, mask[None, None], None, self.heads)
        return states

    def target_logits(self, states: Tensor) -> Tensor:
        return self._model.project(states[0])  # type: ignore[no-any-return]

    def draft_logits(self, states: Tensor) -> Tensor:
        return self._model.project(states[1:])  # type: ignore[no-any-return]

    def without_heads(self) -> Forward:
        return MtpForward(self._model, 1)


def forward_for(model: Any, n_heads: int | None, speculative: str) -> Forward:
    """`speculative` ``off``, or a model without extra heads: plain decoding. Raises GenerationError for too many heads."""
    there = int(getattr(model.config, "n_future_tokens", 1)) if hasattr(model, "head_states") else 1
    if n_heads is not None and n_heads > there:
        raise GenerationError(f"model.mtp.n_heads is {n_heads}, but the model has {there}")
    heads = 1 if speculative == "off" else n_heads or there
    return MtpForward(model, heads) if hasattr(model, "head_states") else Forward(model)
