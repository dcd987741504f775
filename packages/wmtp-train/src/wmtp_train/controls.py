"""Controls of a weighted training, beside core's `uniform` and `shuffled`.

Each takes weights [rows, width], a mask that is true where a token is trained, and a seed a row. Whoever calls them scales
each row to mean 1 afterwards, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

SLOTS = 64
"""Places in an answer that `Position` tells apart, by their share of its length."""


def random_matched(weights: Tensor, mask: Tensor, keys: Sequence[int]) -> Tensor:
    """Every token of a row gets a weight drawn from all trained tokens' weights of the micro-batch, by the row's key."""
    every = weights[mask].sort().values
    drawn = weights.clone()
    for row, key in enumerate(keys):
        where = mask[row].nonzero().flatten()
        generator = torch.Generator().manual_seed(key)
        chosen = torch.randint(len(every), (len(where),), generator=generator).to(every.device)
        drawn[row, where] = every[chosen]
    return drawn


def inverted(weights: Tensor, mask: Tensor, keys: Sequence[int]) -> Tensor:
    """Each row's weights in the contrary order: its largest goes where its smallest was. The same multiset."""
    turned = weights.clone()
    for row in range(len(weights)):
        where = mask[row].nonzero().flatten()
        values = weights[row, where]
        order = values.argsort(stable=True)
        turned[row, where[order]] = values[order.flip(0)]
    return turned


class Position:
    """Each token gets the mean weight that tokens at its place in an answer have had so far; content is left out.

    A place is a share of the answer's length, in `SLOTS` slots. It learns by `update`, once a step, and gives every token the
    same weight until then.
    """

    def __init__(self) -> None:
        self._sums = torch.zeros((2, SLOTS), dtype=torch.float64)

    def __call__(self, weights: Tensor, mask: Tensor, keys: Sequence[int]) -> Tensor:
        """Weights by place alone."""
        sums, counts = self._sums.to(weights.device)
        known = counts > 0
        means = torch.where(known, sums / counts.clamp(min=1), 1.0).to(weights.dtype)
        return torch.where(mask, means[_slots(mask)], weights)

    def moments(self, weights: Tensor, mask: Tensor) -> Tensor:
        """(sums, counts) of a micro-batch's weights by place, float64 [2, slots]. They add up."""
        where = _slots(mask)[mask]
        found = torch.zeros((2, SLOTS), dtype=torch.float64, device=weights.device)
        found[0].index_add_(0, where, weights[mask].double())
        found[1].index_add_(0, where, torch.ones(len(where), dtype=torch.float64, device=weights.device))
        return found

    def update(self, moments: Tensor) -> None:
        """Takes in a step's summed moments."""
        self._sums += moments.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers for a checkpoint."""
        return {"sums": self._sums.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self._sums = torch.tensor(state["sums"], dtype=torch.float64)


def _slots(mask: Tensor) -> Tensor:
    """The slot of each trained token, [rows, width]."""
    place = mask.cumsum(-1) - 1
    count = mask.sum(-1, keepdim=True).clamp(min=1)
    return (place * SLOTS // count).clamp(0, SLOTS - 1)
