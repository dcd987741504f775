"""``rho1-excess-v1``: weights from how far a model's loss is from a reference model's (Rho-1, arXiv 2404.07965)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs
import torch
from attrs import validators
from torch import Tensor

from wmtp.weighting.normalize import normalize_weights
from wmtp.weighting.settings import WeightSettings

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
    """Cross-entropy of each token: logits [batch, sequence, vocabulary], targets [batch, sequence] → float32.

    A block of `rows` token rows at a time, so that no float32 copy of all logits is ever made.
    """
    flat, wanted = logits.flatten(0, 1), targets.flatten()
    parts = [
        torch.nn.functional.cross_entropy(flat[i : i + rows].float(), wanted[i : i + rows], reduction="none")
        for i in range(0, len(flat), rows)
    ]
    return torch.cat(parts).view(targets.shape) if parts else torch.zeros(targets.shape)


def excess_scores(base: Tensor, reference: Tensor, *, kind: Literal["absolute", "signed"] = "absolute") -> Tensor:
    """|CE_reference − CE_base|, or the signed excess CE_base − CE_reference (what Rho-1 selects by)."""
    return (reference - base).abs() if kind == "absolute" else base - reference


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


@attrs.frozen(kw_only=True)
class Rho1Settings(WeightSettings):
    """kind: ``absolute`` or ``signed``. top: share of tokens to emphasise. skip: share of tokens, those of the lowest
    scores, that are masked out (their weight is 0, and the mean is 1 over the others)."""

    kind: Literal["absolute", "signed"] = "absolute"
    top: float = attrs.field(default=1.0, validator=[validators.gt(0), validators.le(1)])
    skip: float = attrs.field(default=0.0, validator=[validators.ge(0), validators.lt(1)])


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
    """The scorer: batch["base_ce"], batch["reference_ce"] and batch["mask"], all [batch, sequence] → weights.

    Instead of the cross-entropies, batch may hold "base_logits", "reference_logits" and "targets".
    """
    chosen = settings or Rho1Settings()

    def scorer(batch: Mapping[str, Any]) -> Tensor:
        if "base_ce" in batch:
            base, reference = batch["base_ce"], batch["reference_ce"]
        else:
            base, reference = (
                token_cross_entropy(batch[name], batch["targets"]) for name in ("base_logits", "reference_logits")
            )
        scores = excess_scores(base, reference, kind=chosen.kind)
        mask = keep_mask(scores, batch["mask"], chosen.skip)
        return normalize_weights(emphasise(scores, mask, top=chosen.top), mask, **chosen.arguments())

    return scorer
