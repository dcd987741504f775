"""Scorers that need no second model: weights that the data give, and the model's own probability of a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from wmtp.weighting.normalize import normalize_weights
from wmtp.weighting.settings import DftSettings, GivenSettings

Scorer = Callable[[Mapping[str, Any]], Tensor]


def create_given(settings: GivenSettings | None) -> Scorer:
    """``given-v1``: the weights that came with the data, scaled to mean 1 in each row.

    A given 0 stays 0 and removes the token: the mean is 1 over the others.

    Returns:
        A scorer that reads batch["given"] (≥ 0) and batch["mask"], both [batch, sequence]. It raises ValueError for
        weights that are negative or not finite.
    """
    chosen = settings or GivenSettings()

    def scorer(batch: Mapping[str, Any]) -> Tensor:
        given, mask = batch["given"].detach(), batch["mask"].bool()
        if bool(((given < 0) | ~given.isfinite())[mask].any()):
            raise ValueError("given token weights must be finite and not negative")
        kept = mask & (given > 0)
        logarithms = given.double().clamp(min=1e-300).log().masked_fill(~kept, 0.0)
        weights = normalize_weights(
            logarithms,
            kept,
            temperature=1.0,
            min_weight=chosen.min_weight,
            max_weight=chosen.max_weight,
            method="raw",
        )
        return weights.to(given.dtype)

    return scorer


def create_dft(settings: DftSettings | None) -> Scorer:
    """``dft-v1``: a token weighs what the model already gives it, p ** (1 / temperature) (arXiv 2508.05629).

    The paper multiplies the loss by p itself, which also shrinks every step; here the mean stays 1, so that an arm without
    weights takes steps of the same size.

    Returns:
        A scorer that reads batch["base_ce"] (−log p of each token, nats) and batch["mask"], both [batch, sequence].
    """
    chosen = settings or DftSettings()

    def scorer(batch: Mapping[str, Any]) -> Tensor:
        return normalize_weights(-batch["base_ce"].detach(), batch["mask"], method="raw", **chosen.arguments())

    return scorer
