"""Learning rates and coefficients of heads as functions of the step: there is no state to keep."""

from __future__ import annotations

import math

import wmtp
from wmtp_train.settings import HeadsConfig, OptimConfig


def warmup(optim: OptimConfig, total: int) -> int:
    """Steps in which the rate rises."""
    return optim.warmup_steps if optim.warmup_steps is not None else math.floor(optim.warmup_ratio * total)


def check_schedule(optim: OptimConfig, total: int) -> None:
    """Raises ConfigError for a warm-up that the training would not outlast."""
    rising = warmup(optim, total)
    if rising >= total and rising:
        raise wmtp.ConfigError(
            f"the warm-up takes {rising} steps and the training {total}: the learning rate would never be reached. Lower "
            "optim.warmup_steps or optim.warmup_ratio, or raise train.max_steps."
        )


def check_curriculum(heads: HeadsConfig, total: int) -> None:
    """Raises ConfigError for a curriculum that the training would not outlast."""
    if heads.schedule and heads.schedule_steps > total:
        raise wmtp.ConfigError(
            f"the {heads.schedule} curriculum takes {heads.schedule_steps} steps and the training {total}: lower "
            "train.heads.schedule_steps, or raise train.max_steps"
        )


def learning_rate(step: int, optim: OptimConfig, total: int) -> float:
    """The rate of a step, counted from 0."""
    rising = warmup(optim, total)
    if step < rising:
        return optim.lr * (step + 1) / rising
    return optim.lr * _share(step - rising, max(total - rising, 1), optim)


def _share(step: int, length: int, optim: OptimConfig) -> float:
    """What is left of the rate `step` steps behind the warm-up, `length` steps of the end."""
    low = optim.min_lr_ratio
    if optim.scheduler == "constant":
        return 1.0
    gone = step / length
    if optim.scheduler == "linear":
        return low + (1 - low) * (1 - gone)
    if optim.scheduler == "cosine":
        return low + (1 - low) * (1 + math.cos(math.pi * gone)) / 2
    falling = optim.decay_ratio
    return 1.0 if gone < 1 - falling else low + (1 - low) * (1 - gone) / falling


def coefficients(step: int, heads: HeadsConfig, count: int) -> list[float]:
    """How much each of `count` heads counts at a step; they sum to 1."""
    if heads.coefficients is not None:
        weights = list(heads.coefficients)
    else:
        weights = [(heads.decay or 1.0) ** head for head in range(count)]
    active = active_heads(step, heads, count)
    kept = [weight if head < active else 0.0 for head, weight in enumerate(weights)]
    total = sum(kept)
    # A curriculum may begin with heads that count nothing; the next-token head stands for them.
    return [weight / total for weight in kept] if total > 0 else [1.0, *[0.0] * (count - 1)]


def active_heads(step: int, heads: HeadsConfig, count: int) -> int:
    """How many heads a curriculum has at a step, the next-token head first."""
    if heads.schedule is None:
        return count
    stage = min(step * count // heads.schedule_steps, count - 1)
    return 1 + stage if heads.schedule == "forward" else count - stage


def check_heads(heads: HeadsConfig, available: int, why: str = "") -> int:
    """The number of heads to train. Raises ConfigError where the model has fewer. why: it has some that cannot be trained."""
    if available < 1:
        raise wmtp.ConfigError(
            f"the model has {available} heads, so there is none to train; n_future_tokens in its config.json counts the "
            "next-token head too"
        )
    count = heads.count or available
    if count > available:
        raise wmtp.ConfigError(
            f"train.heads.count is {count}, and the model has {available}. Train {available}, or add heads: `wmtp heads add "
            f"MODEL --to FOLDER`{f'. It has others that cannot be trained: {why}' if why else ''}"
        )
    if heads.coefficients is not None and len(heads.coefficients) != count:
        raise wmtp.ConfigError(
            f"train.heads.coefficients has {len(heads.coefficients)} numbers for {count} heads; give one for each"
        )
    return count
