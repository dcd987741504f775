"""What to log of token weights."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor


@attrs.frozen
class WeightStatistics:
    """Over all valid tokens of a batch. entropy: mean over rows of the entropy of weights / their sum, over log(count),
    so that 1 is uniform; at_min and at_max: shares of tokens at the bounds."""

    mean: float
    std: float
    min: float
    max: float
    entropy: float
    at_min: float
    at_max: float
    tokens: int


def weight_statistics(weights: Tensor, mask: Tensor, *, min_weight: float, max_weight: float) -> WeightStatistics:
    """Statistics of weights [batch, sequence] where `mask` is true. Raises ValueError if no token is valid."""
    valid = mask.bool()
    values = weights.detach()[valid].double()
    if not values.numel():
        raise ValueError("no token is valid")
    return WeightStatistics(
        mean=values.mean().item(),
        std=values.std(unbiased=False).item(),
        min=values.min().item(),
        max=values.max().item(),
        entropy=_entropy(weights.detach().double(), valid),
        at_min=(values <= min_weight * (1 + 1e-6)).double().mean().item(),
        at_max=(values >= max_weight * (1 - 1e-6)).double().mean().item(),
        tokens=values.numel(),
    )


def _entropy(weights: Tensor, valid: Tensor) -> float:
    """Mean over rows with at least two valid tokens; 1 where there is no such row."""
    rows = valid.sum(-1) > 1
    if not bool(rows.any()):
        return 1.0
    share = torch.where(valid, weights, 0.0)[rows]
    share = share / share.sum(-1, keepdim=True)
    entropy = -torch.where(share > 0, share * share.log(), 0.0).sum(-1)
    return (entropy / valid[rows].sum(-1).double().log()).mean().item()


def weight_histogram(
    weights: Tensor, mask: Tensor, *, bins: int = 20, low: float, high: float
) -> tuple[list[float], list[int]]:
    """(edges, counts): `bins` equal bins over [low, high], values outside counted in the first and last."""
    values = weights.detach()[mask.bool()].double().clamp(low, high)
    counts = torch.histc(values, bins=bins, min=low, max=high)
    edges = torch.linspace(low, high, bins + 1, dtype=torch.float64)
    return edges.tolist(), [int(c) for c in counts.tolist()]
