"""The weighted multi-token-prediction loss: the plain way, from logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmtp.weighting.targets import all_targets, head_targets


def head_scales(counts: Tensor, coefficients: Tensor | None, denominators: Tensor | None) -> Tensor:
    """What each head's sum is multiplied by, [heads]: its coefficient over its denominator.

    Args:
        counts: Trained positions of each head, [heads].
        coefficients: Of each head, [heads]; ``None``: 1 / heads.
        denominators: What the sums are divided by, [heads]; ``None``: `counts`. Pass the counts of the whole optimiser step,
            over ranks and micro-batches: a mean of local means is another number as soon as they hold unequal many tokens.
    """
    below = (counts if denominators is None else denominators).to(counts.device, torch.float64)
    factor = torch.full_like(below, 1 / len(counts)) if coefficients is None else coefficients.to(below)
    return factor / below.clamp(min=1)


def weighted_mtp_loss(
    logits_by_head: Tensor | Sequence[Tensor],
    targets: Tensor,
    weights: Tensor,
    mask: Tensor,
    *,
    segments: Tensor | None = None,
    trained: Tensor | None = None,
    coefficients: Tensor | None = None,
    denominators: Tensor | None = None,
) -> Tensor:
    """Σ_k coefficient_k · Σ_t w_{t+1+k} · CE(head k at t, token t + 1 + k) / denominator_k.

    By default a mean over heads of means over tokens. `wmtp.weighting.lean_mtp_loss` is the same number for less memory.

    Args:
        logits_by_head: [batch, sequence, heads, vocabulary], or one [batch, sequence, vocabulary] for each head.
        targets: Token ids of the sequence itself, unshifted, [batch, sequence].
        weights: Each token's own weight, [batch, sequence]; constants, see `head_targets`.
        mask: True where a token exists, [batch, sequence].
        segments: Documents of packed rows, as in `head_targets`.
        trained: Tokens to be learned, as in `head_targets`.
        coefficients: Of each head, [heads]; default 1 / heads.
        denominators: Of each head, [heads]; default: its trained positions here.

    Returns:
        A scalar, float32 or the weights' wider type.
    """
    heads = list(logits_by_head.unbind(2)) if isinstance(logits_by_head, Tensor) else list(logits_by_head)
    ids, weight, there = all_targets(len(heads), targets, weights, mask, segments, trained)
    scale = head_scales(there.sum((1, 2)), coefficients, denominators).to(weights.dtype)
    losses = [_head_loss(logits, ids[k], weight[k]) * scale[k] for k, logits in enumerate(heads)]
    return torch.stack(losses).sum()


def _head_loss(logits: Tensor, ids: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy, summed: logits [batch, sequence, vocabulary]."""
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids.flatten(), reduction="none")
    return (each * weight.flatten()).sum()


def head_cross_entropies(logits_by_head: Tensor, targets: Tensor, mask: Tensor) -> list[float]:
    """Unweighted mean cross-entropy of each head, for logging: logits [batch, sequence, heads, vocabulary]."""
    ones = torch.ones(targets.shape, device=targets.device)
    found = []
    for head, logits in enumerate(logits_by_head.detach().unbind(2)):
        ids, weight = head_targets(targets, ones, mask, head)
        found.append((_head_loss(logits, ids, weight) / weight.sum().clamp(min=1)).item())
    return found
