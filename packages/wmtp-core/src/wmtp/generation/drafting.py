"""Drafters: parallel heads, and none."""

from __future__ import annotations

import torch
from torch import Tensor

from wmtp.contracts.models import DecodingCache, ParallelHeadsModel, Pick


class NoDrafts:
    """Plain decoding: the same loop with nothing to verify."""

    depth = 0
    layers = 0

    def prefill(self, ids: Tensor, hidden: Tensor, cache: DecodingCache) -> Tensor:
        return hidden[:, -1, :0]

    def begin(self, prompts: Tensor, slots: Tensor, last: Tensor, positions: Tensor, cache: DecodingCache) -> Tensor:
        return prompts

    def advance(self, hidden: Tensor, tokens: Tensor, accepted: Tensor, cache: DecodingCache) -> Tensor:
        return hidden[:, -1, :0]

    def propose(
        self, state: Tensor, slots: Tensor, last: Tensor, positions: Tensor, pick: Pick, cache: DecodingCache
    ) -> Tensor:
        return last.new_empty(0, len(last))

    def all_states(self, ids: Tensor, hidden: Tensor) -> Tensor:
        return hidden.new_empty(0, *hidden.shape)

    def project(self, states: Tensor, depth: int) -> Tensor:
        return states


class ParallelHeads:
    """Extra heads 1 … depth of a model that all take the trunk's output, at once and without knowing the next token."""

    def __init__(self, model: ParallelHeadsModel, depth: int) -> None:
        self._model = model
        self.depth = self.layers = depth

    def _run(self, trunk: Tensor, cache: DecodingCache) -> Tensor:
        """[depth, rows, width, hidden]"""
        mask = cache.mask(trunk.dtype)
        return self._model.run_heads(trunk, range(1, self.depth + 1), cache.positions, mask, cache)  # type: ignore[no-any-return]

    def prefill(self, ids: Tensor, hidden: Tensor, cache: DecodingCache) -> Tensor:
        """The heads' states at the last position, [1, depth, hidden]: drafts for a first token need no more."""
        return self._run(hidden, cache)[:, :, -1].transpose(0, 1)

    def begin(self, prompts: Tensor, slots: Tensor, last: Tensor, positions: Tensor, cache: DecodingCache) -> Tensor:
        return prompts

    def advance(self, hidden: Tensor, tokens: Tensor, accepted: Tensor, cache: DecodingCache) -> Tensor:
        """Every position passes through every head: one that was skipped would leave its cache wrong for good."""
        states = self._run(hidden, cache)
        return states[:, torch.arange(len(accepted), device=accepted.device), accepted].transpose(0, 1)

    def propose(
        self, state: Tensor, slots: Tensor, last: Tensor, positions: Tensor, pick: Pick, cache: DecodingCache
    ) -> Tensor:
        tokens: Tensor = pick(self.project(state.transpose(0, 1), 0), 0)
        return tokens

    def all_states(self, ids: Tensor, hidden: Tensor) -> Tensor:
        positions, mask = whole_text(ids, hidden.dtype)
        return self._model.run_heads(hidden, range(1, self.depth + 1), positions, mask, None)  # type: ignore[no-any-return]

    def project(self, states: Tensor, depth: int) -> Tensor:
        """One matrix for all depths."""
        return self._model.project(states)  # type: ignore[no-any-return]


def whole_text(ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Positions [1, width] and the causal mask [1, 1, width, width] of a text that is run at once."""
    width = ids.shape[1]
    hidden = torch.ones(width, width, dtype=torch.bool, device=ids.device).triu(1)
    mask = torch.zeros(hidden.shape, dtype=dtype, device=ids.device).masked_fill_(hidden, float("-inf"))
    return torch.arange(width, device=ids.device)[None], mask[None, None]
