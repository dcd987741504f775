"""Controls: what a weighted training would have been had the weights meant nothing.

Each takes weights [batch, sequence], a mask that is true where a token is trained, and a seed a row; each keeps every row's
mean over its trained tokens, and the weights of the others as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(weights: Tensor, mask: Tensor, keys: Sequence[int]) -> Tensor:
    """Every trained token of a row gets the row's mean."""
    counts = mask.sum(dim=1, keepdim=True).clamp(min=1)
    means = (weights * mask).sum(dim=1, keepdim=True) / counts
    return torch.where(mask, means, weights)


def shuffled(weights: Tensor, mask: Tensor, keys: Sequence[int]) -> Tensor:
    """Each row's weights dealt anew among its trained tokens: the same multiset, which token has which depends on the key."""
    dealt = weights.clone()
    for row, key in enumerate(keys):
        where = mask[row].nonzero().flatten()
        generator = torch.Generator().manual_seed(key)
        order = torch.randperm(len(where), generator=generator).to(where.device)
        dealt[row, where] = weights[row, where[order]]
    return dealt
