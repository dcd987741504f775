"""Token weights with mean 1 inside their bounds, and the weighted MTP loss. Importing this imports torch."""

from __future__ import annotations

from wmtp.weighting.critic import (
    CriticDeltaSettings,
    ValueHead,
    create_critic_delta,
    gae_targets,
    spread_reward,
    value_deltas,
    value_loss,
)
from wmtp.weighting.loss import head_cross_entropies, head_targets, lean_mtp_loss, weighted_mtp_loss
from wmtp.weighting.normalize import normalize_weights
from wmtp.weighting.rho1 import (
    Rho1Settings,
    check_same_tokenizer,
    create_rho1_excess,
    emphasise,
    excess_scores,
    keep_mask,
    token_cross_entropy,
)
from wmtp.weighting.settings import WeightSettings
from wmtp.weighting.statistics import WeightStatistics, weight_histogram, weight_statistics

__all__ = [
    "CriticDeltaSettings",
    "Rho1Settings",
    "ValueHead",
    "WeightSettings",
    "WeightStatistics",
    "check_same_tokenizer",
    "create_critic_delta",
    "create_rho1_excess",
    "emphasise",
    "excess_scores",
    "gae_targets",
    "head_cross_entropies",
    "head_targets",
    "keep_mask",
    "lean_mtp_loss",
    "normalize_weights",
    "spread_reward",
    "token_cross_entropy",
    "value_deltas",
    "value_loss",
    "weight_histogram",
    "weight_statistics",
    "weighted_mtp_loss",
]
