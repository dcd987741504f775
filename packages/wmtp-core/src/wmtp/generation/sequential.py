"""Drafting with sequential modules: each joins a hidden state with the token behind it, and they run one after another.

The module of draft step j keeps keys and values of its own. Entry i of them is made of token i and of step j − 1's state at
position i − 1 − j (of the trunk's, for step 0), so that all modules take the same tokens in one pass, and none has an entry
before 1 + j. Verified positions pass through all modules with the true tokens: what a draft left there is written over, and
no entry is missing. Steps beyond the last module run it once more on its own output, and their entries are written over too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wmtp.contracts.models import DecodingCache, Pick
from wmtp.models.architectures.module import SequentialModules

_KEPT = "sequential modules"


class SequentialHeads:
    """Drafts `depth` tokens with the modules of a checkpoint."""

    def __init__(self, modules: SequentialModules, depth: int) -> None:
        self.modules = modules
        self.depth = depth
        self.layers = min(depth, modules.count)

    def prefill(self, ids: Tensor, hidden: Tensor, cache: DecodingCache) -> Tensor:
        """The trunk's state at the last position, and the modules' at their last entry: [1, layers, hidden]."""
        width = ids.shape[1]
        none = hidden.new_zeros(1, self.layers - 1, hidden.shape[-1])
        if width == 1:  # no entry yet; slots are made like this cache all the same, so it has to be written
            self._through(hidden, none, ids, cache.positions + 1, cache)
            return torch.cat([hidden, none], dim=1)
        states = self._through(hidden[:, :-1], none, ids[:, 1:], cache.positions[:, 1:], cache)
        return torch.cat([hidden[:, -1:], states[:, :-1, -1]], dim=1)

    def begin(self, prompts: Tensor, slots: Tensor, last: Tensor, positions: Tensor, cache: DecodingCache) -> Tensor:
        count = len(positions)
        # Rows in flight have the entry of their last token already: nothing is written there.
        places = positions + 1
        places[slots] = positions[slots]
        states = self._through(
            _spread(prompts[:, :1], slots, count),
            _spread(prompts[:, 1:], slots, count),
            _spread(last[:, None], slots, count),
            places[:, None],
            cache,
        )[slots, :, 0]
        if self.layers > 1:
            kept = cache.kept.get(_KEPT)
            kept = states.new_zeros(count, *states[0, 1:].shape) if kept is None else kept
            cache.kept[_KEPT] = kept.index_copy(0, slots, states[:, :-1])
        return states

    def advance(self, hidden: Tensor, tokens: Tensor, accepted: Tensor, cache: DecodingCache) -> Tensor:
        count = len(hidden)
        kept = cache.kept[_KEPT] if self.layers > 1 else hidden.new_empty(count, 0, hidden.shape[-1])
        states = self._through(hidden, kept, tokens, cache.positions + 1, cache)
        here = states[torch.arange(count, device=accepted.device), :, accepted]
        if self.layers > 1:
            cache.kept[_KEPT] = here[:, :-1]
        return here

    def propose(
        self, state: Tensor, slots: Tensor, last: Tensor, positions: Tensor, pick: Pick, cache: DecodingCache
    ) -> Tensor:
        found = state[:, :1]
        tokens = pick(self.project(found[:, -1], 0)[None], 0)
        for step in range(1, self.depth):
            if step < self.layers:
                # The step's own entries behind the last token are of the same drafts.
                first = self.modules.chained(step - 1, state[:, step - 1 : step])
                inputs = torch.cat([first, self.modules.chained(step - 1, found)], dim=1) if step > 1 else first
                joined = tokens.T
            else:
                inputs, joined = self.modules.chained(step - 1, found[:, -1:]), tokens.T[:, -1:]
            ahead = torch.arange(step + 1 - joined.shape[1], step + 1, device=positions.device)
            count = len(positions)
            places = positions[:, None] + ahead
            found = self._run(step, _spread(inputs, slots, count), _spread(joined, slots, count), places, cache)
            found = found if len(slots) == count else found[slots]
            tokens = torch.cat([tokens, pick(self.project(found[:, -1], step)[None], step)])
        return tokens  # type: ignore[no-any-return]

    def all_states(self, ids: Tensor, hidden: Tensor) -> Tensor:
        return torch.stack(self.modules.all_states(ids, hidden, self.depth))

    def project(self, states: Tensor, depth: int) -> Tensor:
        return self.modules.project(depth, states)

    def _through(self, hidden: Tensor, before: Tensor, tokens: Tensor, places: Tensor, cache: DecodingCache) -> Tensor:
        """Runs true tokens through all modules.

        Args:
            hidden: [rows, width, hidden], the trunk's at the positions before the tokens'.
            before: [rows, layers − 1, hidden], states of all modules but the last at the entry before these.
            tokens: [rows, width]. places: their positions.

        Returns:
            [rows, layers, width, hidden]
        """
        found = []
        for step in range(self.layers):
            states = self._run(step, hidden, tokens, places, cache)
            found.append(states)
            if step + 1 < self.layers:
                hidden = self.modules.chained(step, torch.cat([before[:, step : step + 1], states[:, :-1]], dim=1))
        return torch.stack(found, dim=1)

    def _run(self, step: int, hidden: Tensor, tokens: Tensor, places: Tensor, cache: DecodingCache) -> Tensor:
        # Only rows that have ended are beyond the cache's end.
        places = places.clamp(max=cache.capacity - 1)
        end = int(places.max()) + 1
        cache.set_positions(places, end)
        first = end - places.shape[1] if len(places) == 1 else 0  # or behind it
        return self.modules(step, hidden, tokens, cache.positions, self._mask(step, hidden.dtype, cache, first), cache)  # type: ignore[no-any-return]

    def _mask(self, step: int, dtype: torch.dtype, cache: DecodingCache, first: int) -> Tensor:
        """The cache's own, less what is before the module's first entry and behind its window. A position sees itself.

        first: no position is before that one.
        """
        mask, none = cache.mask(dtype), min(step, self.layers - 1) + 1
        window = self.modules.trunk.window(self.modules.module(step).kind)
        if first >= none and window is None:  # no position is to be compared
            mask[..., :none].fill_(float("-inf"))
            return mask  # type: ignore[no-any-return]
        at = cache.positions[:, None, :, None]
        entries = torch.arange(mask.shape[-1], device=mask.device)
        mask[..., :none].masked_fill_(entries[:none] != at, float("-inf"))
        return mask if window is None else mask.masked_fill_(entries <= at - window, float("-inf"))  # type: ignore[no-any-return]


def _spread(values: Tensor, slots: Tensor, count: int) -> Tensor:
    """Rows of some slots among those of all, the others zero."""
    if len(slots) == count:  # slots ascend
        return values
    return values.new_zeros(count, *values.shape[1:]).index_copy(0, slots, values)
