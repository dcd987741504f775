"""Token weights with mean 1 inside their bounds, and the weighted MTP loss.

Names are resolved on first use: the options of scorers need no torch, everything else does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmtp.weighting.critic import ValueHead as ValueHead
    from wmtp.weighting.critic import create_critic_delta as create_critic_delta
    from wmtp.weighting.critic import gae_targets as gae_targets
    from wmtp.weighting.critic import spread_reward as spread_reward
    from wmtp.weighting.critic import value_deltas as value_deltas
    from wmtp.weighting.critic import value_loss as value_loss
    from wmtp.weighting.lean import HeadLosses as HeadLosses
    from wmtp.weighting.lean import lean_head_losses as lean_head_losses
    from wmtp.weighting.lean import lean_mtp_loss as lean_mtp_loss
    from wmtp.weighting.loss import head_cross_entropies as head_cross_entropies
    from wmtp.weighting.loss import weighted_mtp_loss as weighted_mtp_loss
    from wmtp.weighting.normalize import normalize_weights as normalize_weights
    from wmtp.weighting.own import create_dft as create_dft
    from wmtp.weighting.own import create_given as create_given
    from wmtp.weighting.rho1 import check_same_tokenizer as check_same_tokenizer
    from wmtp.weighting.rho1 import create_rho1_excess as create_rho1_excess
    from wmtp.weighting.rho1 import emphasise as emphasise
    from wmtp.weighting.rho1 import excess_scores as excess_scores
    from wmtp.weighting.rho1 import keep_mask as keep_mask
    from wmtp.weighting.rho1 import next_token_cross_entropy as next_token_cross_entropy
    from wmtp.weighting.rho1 import token_cross_entropy as token_cross_entropy
    from wmtp.weighting.settings import CriticDeltaSettings as CriticDeltaSettings
    from wmtp.weighting.settings import DftSettings as DftSettings
    from wmtp.weighting.settings import GivenSettings as GivenSettings
    from wmtp.weighting.settings import Rho1Settings as Rho1Settings
    from wmtp.weighting.settings import TawGaeSettings as TawGaeSettings
    from wmtp.weighting.settings import WeightSettings as WeightSettings
    from wmtp.weighting.statistics import WeightStatistics as WeightStatistics
    from wmtp.weighting.statistics import weight_histogram as weight_histogram
    from wmtp.weighting.statistics import weight_statistics as weight_statistics
    from wmtp.weighting.targets import head_targets as head_targets
    from wmtp.weighting.targets import token_weights as token_weights
    from wmtp.weighting.targets import trained_positions as trained_positions
    from wmtp.weighting.taw import TawGae as TawGae
    from wmtp.weighting.taw import create_taw_gae as create_taw_gae
    from wmtp.weighting.taw import value_advantages as value_advantages

__all__ = [
    "CriticDeltaSettings",
    "DftSettings",
    "GivenSettings",
    "HeadLosses",
    "Rho1Settings",
    "TawGae",
    "TawGaeSettings",
    "ValueHead",
    "WeightSettings",
    "WeightStatistics",
    "check_same_tokenizer",
    "create_critic_delta",
    "create_dft",
    "create_given",
    "create_rho1_excess",
    "create_taw_gae",
    "emphasise",
    "excess_scores",
    "gae_targets",
    "head_cross_entropies",
    "head_targets",
    "keep_mask",
    "lean_head_losses",
    "lean_mtp_loss",
    "next_token_cross_entropy",
    "normalize_weights",
    "spread_reward",
    "token_cross_entropy",
    "token_weights",
    "trained_positions",
    "value_advantages",
    "value_deltas",
    "value_loss",
    "weight_histogram",
    "weight_statistics",
    "weighted_mtp_loss",
]

_MODULES = ("settings", "targets", "loss", "lean", "normalize", "statistics", "rho1", "critic", "own", "taw")


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        for module in _MODULES:
            found = vars(import_module(f"wmtp.weighting.{module}")).get(name)
            if found is not None:
                return found
    raise AttributeError(f"module 'wmtp.weighting' has no attribute {name!r}")
