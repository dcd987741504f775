"""``rho1-excess-v1``: weights from how far a model's loss is from a reference model's (Rho-1, arXiv 2404.07965)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from wmtp.weighting.normalize import normalize_weights
from wmtp.weighting.settings import Rho1Settings

ROWS = 2048  # token rows whose softmax is in memory at once


def check_same_tokenizer(base: Any, reference: Any) -> None:
    """Raises ValueError unless both tokenizers have the same vocabulary: losses of other tokens cannot be compared."""
    one, other = base.get_vocab(), reference.get_vocab()
    if one != other:
        differing = sorted(t for t in set(one) | set(other) if one.get(t) != other.get(t))
        raise ValueError(
            f"base and reference model have different tokenizers ({len(one)} and {len(other)} tokens; they differ in "
            f"{len(differing)}, e.g. {differing[0]!r})"
        )


def token_cross_entropy(logits: Tensor, targets: Tensor, *, rows: int = ROWS) -> Tensor:
    """Cross-entropy of targets under logits of the *same* position: nothing is shifted here.

    A block of `rows` token rows at a time, so that no float32 copy of all logits is ever made. For a model's own logits and
    the sequence they were made from, see `next_token_cross_entropy`.

    Args:
        logits: [batch, sequence, vocabulary].
        targets: What each position predicts, [batch, sequence].
        rows: Token rows at a time.

    Returns:
        Nats, float32, [batch, sequence].
    """
    flat, wanted = logits.flatten(0, 1), targets.flatten()
    parts = [
        torch.nn.functional.cross_entropy(flat[i : i + rows].float(), wanted[i : i + rows], reduction="none")
        for i in range(0, len(flat), rows)
    ]
    return torch.cat(parts).view(targets.shape) if parts else torch.zeros(targets.shape)


def next_token_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each token of a sequence under the logits of the position before it.

    The shift happens here, as in `wmtp.weighting.head_targets`: `targets` are the ids that the model read, and the result
    lies where the token lies. A first token is predicted by nobody and gets 0.

    Args:
        logits: As a causal model gives them, [batch, sequence, vocabulary].
        targets: The ids that it read, [batch, sequence].

    Returns:
        Nats, float32, [batch, sequence].
    """
    found = torch.zeros(targets.shape, dtype=torch.float32, device=logits.device)
    if targets.shape[1] > 1:
        found[:, 1:] = token_cross_entropy(logits[:, :-1], targets[:, 1:])
    return found


def excess_scores(base: Tensor, reference: Tensor, *, kind: Literal["signed", "absolute"] = "signed") -> Tensor:
    """How much more a token costs the model than the reference: CE_base − CE_reference, or its absolute value.

    Rho-1 selects by the signed excess: what the reference knows and the model does not. The absolute one also lifts tokens
    that the reference finds hard and the model does not, which is what junk looks like.
    """
    return base - reference if kind == "signed" else (reference - base).abs()


def emphasise(scores: Tensor, mask: Tensor, *, top: float, strength: float = 1.0) -> Tensor:
    """Raises the scores of the top share of valid tokens softly: by `strength` deviations times a sigmoid around the
    (1 − top) quantile of each row. top: in (0, 1]; 1 changes nothing."""
    valid = mask.bool()
    if top >= 1:
        return scores
    values = torch.where(valid, scores.double(), torch.nan)
    quantile = values.nanquantile(1 - top, dim=-1, keepdim=True)
    centre = values.nanmean(-1, keepdim=True)
    spread = ((values - centre) ** 2).nanmean(-1, keepdim=True).sqrt()
    spread = torch.where(spread > 0, spread, 1.0)
    lift = strength * spread * torch.sigmoid(4 * (values - quantile) / spread)
    return torch.where(valid, values + lift, 0.0).to(scores.dtype)


def keep_mask(scores: Tensor, mask: Tensor, skip: float) -> Tensor:
    """The mask without the `skip` share of each row's valid tokens that score lowest; at least one is kept."""
    valid = mask.bool()
    if skip <= 0:
        return valid
    order = torch.where(valid, scores.double(), torch.inf).argsort(dim=-1, stable=True)
    place = torch.empty_like(order).scatter_(
        -1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    count = valid.sum(-1, keepdim=True)
    dropped = torch.minimum((count * skip).floor().long(), (count - 1).clamp(min=0))
    return valid & (place >= dropped)


def create_rho1_excess(settings: Rho1Settings | None) -> Callable[[Mapping[str, Any]], Tensor]:
    """The scorer ``rho1-excess-v1``.

    Returns:
        A scorer of batch["base_ce"], batch["reference_ce"] and batch["mask"], all [batch, sequence], each value where its
        token lies. Instead of the cross-entropies a batch may hold "base_logits" and "reference_logits" as the models gave
        them, and as "targets" the ids that they read: the shift by one is made here.
    """
    chosen = settings or Rho1Settings()

    def scorer(batch: Mapping[str, Any]) -> Tensor:
        if "base_ce" in batch:
            base, reference = batch["base_ce"].detach(), batch["reference_ce"].detach()
        else:
            base, reference = (
                next_token_cross_entropy(batch[name].detach(), batch["targets"])
                for name in ("base_logits", "reference_logits")
            )
        scores = excess_scores(base, reference, kind=chosen.kind)
        mask = keep_mask(scores, batch["mask"], chosen.skip)
        return normalize_weights(emphasise(scores, mask, top=chosen.top), mask, **chosen.arguments())

    return scorer
