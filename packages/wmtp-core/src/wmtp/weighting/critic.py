"""``critic-delta-v1``: weights from how a critic's value changes from token to token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wmtp.weighting.normalize import normalize_weights
from wmtp.weighting.settings import CriticDeltaSettings

Spread = Literal["uniform", "length", "attention", "gae"]


class ValueHead(nn.Module):
    """One value a token from hidden states: [batch, sequence, hidden] → [batch, sequence]."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, states: Tensor) -> Tensor:
        value: Tensor = self.out(self.norm(states)).squeeze(-1)
        return value


def spread_reward(
    reward: Tensor, mask: Tensor, *, how: Spread, attention: Tensor | None = None, gamma: float = 1.0
) -> Tensor:
    """A sequence's reward R as per-token rewards r_t that sum to it, over its T valid tokens t = 0 … T − 1.

    - ``uniform``: r_t = R / T
    - ``length``: r_t = R · (t + 1) / Σ_s (s + 1): later tokens carry more
    - ``attention``: r_t = R · a_t / Σ_s a_s, with attention [batch, sequence] ≥ 0 that the last token pays to token t
    - ``gae``: r_t = R at the last valid token, else 0; `gae_targets` then spreads it backwards by γ and λ

    reward [batch], mask [batch, sequence]. Returns [batch, sequence], 0 where masked. A row whose attention is 0 falls
    back to uniform.
    """
    valid = mask.bool()
    place = valid.cumsum(-1)
    count = valid.sum(-1, keepdim=True)
    if how == "uniform":
        share = valid.to(reward.dtype)
    elif how == "length":
        share = (place * valid).to(reward.dtype)
    elif how == "gae":
        share = ((place == count) & valid).to(reward.dtype)
    elif how == "attention":
        if attention is None or attention.shape != mask.shape or bool((attention < 0).any()):
            raise ValueError("spreading by attention needs non-negative attention of the mask's shape")
        share = torch.where(valid, attention.to(reward.dtype), 0.0)
        share = torch.where(share.sum(-1, keepdim=True) > 0, share, valid.to(reward.dtype))
    else:
        raise ValueError(f"unknown way to spread a reward: {how!r}")
    return reward[:, None] * share / share.sum(-1, keepdim=True).clamp(min=torch.finfo(reward.dtype).tiny)


def gae_targets(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Value regression targets by generalised advantage estimation (Schulman et al., arXiv 1506.02438).

    With V_T = 0 behind the last valid token: δ_t = r_t + γ V_{t+1} − V_t, A_t = δ_t + γ λ A_{t+1}; the target is A_t + V_t.
    rewards, values, mask: [batch, sequence]. Returns [batch, sequence], 0 where masked. Values are constants here.
    """
    valid = mask.bool()
    value = torch.where(valid, values.detach(), 0.0)
    targets = torch.zeros_like(value)
    advantage = torch.zeros_like(value[:, 0])
    following = torch.zeros_like(value[:, 0])
    for t in range(value.shape[1] - 1, -1, -1):
        here = valid[:, t]
        delta = rewards[:, t] + gamma * following - value[:, t]
        advantage = torch.where(here, delta + gamma * lam * advantage, advantage)
        targets[:, t] = torch.where(here, advantage + value[:, t], 0.0)
        following = torch.where(here, value[:, t], following)
    return targets


def value_loss(values: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over valid tokens."""
    valid = mask.bool()
    return torch.where(valid, (values - targets) ** 2, 0.0).sum() / valid.sum().clamp(min=1)


def value_deltas(values: Tensor, mask: Tensor) -> Tensor:
    """δ_t = V_t − V_{t−1} over valid tokens, with V_{−1} = 0 before the first: [batch, sequence], 0 where masked."""
    valid = mask.bool()
    value = torch.where(valid, values, 0.0)
    steps = torch.arange(value.shape[1], device=value.device)
    last = torch.where(valid, steps, -1).cummax(-1).values  # the latest valid token up to here
    before = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], -1)
    previous = torch.where(before >= 0, value.gather(-1, before.clamp(min=0)), 0.0)
    return torch.where(valid, value - previous, 0.0)


def create_critic_delta(settings: CriticDeltaSettings | None) -> Callable[[Mapping[str, Any]], Tensor]:
    """The scorer: batch["values"] and batch["mask"], both [batch, sequence] → weights [batch, sequence]."""
    chosen = settings or CriticDeltaSettings()

    def scorer(batch: Mapping[str, Any]) -> Tensor:
        deltas = value_deltas(batch["values"].detach(), batch["mask"])
        return normalize_weights(deltas, batch["mask"], **chosen.arguments())

    return scorer
