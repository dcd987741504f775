"""``taw-gae-v1``: token-level advantage weights, exp(A / T), from the values of a frozen critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wmtp.weighting.normalize import normalize_weights
from wmtp.weighting.settings import TawGaeSettings


def value_advantages(values: Tensor, mask: Tensor, *, gamma: float, lam: float, exists: Tensor | None = None) -> Tensor:
    """What each token did to the critic's value: A_t = δ_t + γ λ A_{t+1}, with δ_t = γ V_t − V_{t−1}.

    There is no reward but the critic's own, so V_{t−1} is what was expected before the token, V_t after it.

    Args:
        values: V behind each token, [batch, sequence].
        mask: True where an advantage is wanted; they are runs of neighbours, like the tokens of an answer.
        gamma: Discount.
        lam: λ.
        exists: True where a token exists (a prompt's do, and their values count as V_{t−1}). ``None``: everywhere.

    Returns:
        [batch, sequence], 0 where masked. The first token of a row has nothing before it, and its δ is 0.
    """
    wanted, value = mask.bool(), values.detach()
    before = torch.cat([value[:, :1], value[:, :-1]], -1)
    alone = torch.zeros_like(wanted)
    alone[:, 0] = True
    if exists is not None:
        alone[:, 1:] |= ~exists.bool()[:, :-1]
    delta = torch.where(wanted & ~alone, gamma * value - before, 0.0)
    advantages = torch.zeros_like(value)
    following = torch.zeros_like(value[:, 0])
    for t in range(value.shape[1] - 1, -1, -1):
        following = torch.where(wanted[:, t], delta[:, t] + gamma * lam * following, 0.0)
        advantages[:, t] = following
    return advantages


class TawGae:
    """The scorer. It scales advantages by a running deviation, which only `update` changes.

    So scoring is a function: validation as often as one likes changes nothing. Who trains sums `moments` over micro-batches
    and ranks and calls `update` once a step, so the state does not depend on how a step was cut up either.
    """

    def __init__(self, settings: TawGaeSettings) -> None:
        self._settings = settings
        self._mean, self._variance, self._steps = 0.0, 1.0, 0

    def __call__(self, batch: Mapping[str, Any]) -> Tensor:
        """batch["values"], batch["mask"] and, where there are prompts, batch["exists"], all [batch, sequence] → weights."""
        scores = (self._advantages(batch) - self._mean) / max(self._variance, 1e-12) ** 0.5
        return normalize_weights(scores, batch["mask"], method="raw", **self._settings.arguments())

    def _advantages(self, batch: Mapping[str, Any]) -> Tensor:
        chosen = self._settings
        return value_advantages(
            batch["values"], batch["mask"], gamma=chosen.gamma, lam=chosen.lam, exists=batch.get("exists")
        )

    def moments(self, batch: Mapping[str, Any]) -> Tensor:
        """(count, sum, sum of squares) of the batch's advantages, float64 [3]. They add up over batches."""
        found = self._advantages(batch)[batch["mask"].bool()].double()
        return torch.stack([torch.tensor(float(found.numel()), device=found.device), found.sum(), (found**2).sum()])

    def update(self, moments: Tensor) -> None:
        """Takes a step's summed moments into the running mean and variance. The first step sets them."""
        count, total, squares = moments.tolist()
        if count < 2:
            return
        mean, variance = total / count, max(squares / count - (total / count) ** 2, 0.0)
        keep = self._settings.momentum if self._steps else 0.0
        self._mean = keep * self._mean + (1 - keep) * mean
        self._variance = keep * self._variance + (1 - keep) * variance
        self._steps += 1

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps: plain numbers."""
        return {"mean": self._mean, "variance": self._variance, "steps": float(self._steps)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Goes on from `state_dict`."""
        self._mean, self._variance = float(state["mean"]), float(state["variance"])
        self._steps = int(state["steps"])


def create_taw_gae(settings: TawGaeSettings | None) -> TawGae:
    """``taw-gae-v1``: weights exp(whitened advantage / temperature), mean 1 in each row within the bounds."""
    return TawGae(settings or TawGaeSettings())
