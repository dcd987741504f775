"""The recipe's sections ``train``, ``optim``, ``data`` and ``checkpoint``; free of torch, as a recipe's check must be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from attrs import validators

import wmtp

MOST, MOST_ROWS, MOST_RANK = 10**9, 10**6, 1 << 16
"""Steps, epochs and factors; rows of a step; an adapter's rank: beyond these a number is a slip."""
LARGEST_SEED = 2**63 - 1
ALGORITHMS = ("baseline-mtp", "mtp-baseline", "critic-wmtp", "rho1-wmtp")


def _none_or_positive(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not 0 < value <= MOST:
        raise ValueError(f"{attribute.name} must be above 0 and at most {MOST:.0e}, not {value}")


def _none_or_not_negative(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    for one in value if isinstance(value, tuple) else () if value is None else (value,):
        if not 0 <= one <= MOST:
            raise ValueError(f"{attribute.name} must not be below 0, nor above {MOST:.0e}: {one}")


_SHARE = [validators.ge(0.0), validators.le(1.0)]
_FACTOR = [validators.gt(0.0), validators.le(float(MOST))]
_FACTOR_OR_NONE = [validators.ge(0.0), validators.le(float(MOST))]


@attrs.frozen(kw_only=True)
class HeadsConfig:
    """``train.heads``: which heads are trained, and how much each counts.

    Attributes:
        count: Heads to train, the next-token head first; ``None``: all that the model has.
        coefficients: Of each head; they are scaled to sum to 1. ``None``: all alike.
        decay: Instead of coefficients, head i counts decay ** i.
        schedule: ``forward`` begins with the next-token head and adds the others one by one, ``reverse`` begins with all and
            ends with it; ``None``: all from the beginning.
        schedule_steps: Steps until the last of them has been added, or taken away.
        freeze_trunk: Train the heads beside the next-token head alone; what the model writes stays the same.
    """

    count: int | None = attrs.field(default=None, validator=validators.optional(validators.ge(1)))
    coefficients: tuple[float, ...] | None = attrs.field(default=None, validator=_none_or_not_negative)
    decay: float | None = attrs.field(
        default=None, validator=validators.optional([validators.gt(0.0), validators.le(1.0)])
    )
    schedule: Literal["forward", "reverse"] | None = None
    schedule_steps: int = attrs.field(default=0, validator=validators.ge(0))
    freeze_trunk: bool = False

    def __attrs_post_init__(self) -> None:
        if self.coefficients is not None and self.decay is not None:
            raise ValueError("coefficients and decay both say how much heads count; give one")
        if self.coefficients is not None and not sum(self.coefficients) > 0:
            raise ValueError("the coefficients are all 0, so nothing would be trained")
        if self.schedule and self.schedule_steps < 1:
            raise ValueError(f"a {self.schedule} schedule needs schedule_steps")
        if self.freeze_trunk and self.schedule:
            raise ValueError(
                f"a {self.schedule} schedule has steps of the next-token head alone, which freeze_trunk freezes"
            )
        if self.freeze_trunk and self.coefficients is not None and not sum(self.coefficients[1:]) > 0:
            raise ValueError("freeze_trunk freezes the next-token head, and the coefficients of all others are 0")


@attrs.frozen(kw_only=True)
class LoraConfig:
    """``train.lora``: low-rank adapters of peft's instead of the weights themselves. They are merged in exports.

    Attributes:
        rank: Of the two matrices of an adapter.
        alpha: What an adapter adds is scaled by alpha / rank.
        dropout: Share of an adapter's inputs that are left out in training.
        target_modules: Ends of the names of the modules that get one.
    """

    rank: int = attrs.field(default=64, validator=[validators.ge(1), validators.le(MOST_RANK)])
    alpha: float = attrs.field(default=128.0, validator=_FACTOR)
    dropout: float = attrs.field(default=0.0, validator=[validators.ge(0.0), validators.lt(1.0)])
    target_modules: tuple[str, ...] = attrs.field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        validator=validators.min_len(1),
    )


@attrs.frozen(kw_only=True)
class EarlyStoppingConfig:
    """``train.early_stopping``: ends a training whose validation loss stops falling.

    Attributes:
        patience: Validations without a better loss that are waited for.
        min_delta: How much lower a loss must be to count as better, in nats.
    """

    patience: int = attrs.field(default=3, validator=validators.ge(1))
    min_delta: float = attrs.field(default=0.0, validator=_FACTOR_OR_NONE)


@attrs.frozen(kw_only=True)
class TrainConfig:
    """``train``: what is learned, and for how long.

    Attributes:
        algo: A preset of scorer: ``baseline-mtp`` has none, ``rho1-wmtp`` has ``rho1-excess-v1``, ``critic-wmtp`` has
            ``taw-gae-v1``.
        trainer: Who trains.
        scorer: Instead of the preset's.
        control: What the scorer's weights are replaced by, to see what they are worth.
        reference: Model that ``reference_ce`` comes from; ``None``: what the section ``reference`` trains, or the model of
            role ``ref``.
        critic: Folder of a critic, for scorers that need ``values``; ``None``: what the section ``critic`` makes.
        num_epochs: Times that every row is seen.
        max_steps: Optimiser steps, instead of epochs.
        batch_size: Rows of one optimiser step, over all processes.
        micro_batch_size: Rows that one process takes at a time.
        heads: Which heads, and how much each counts.
        lora: Adapters instead of the weights themselves; ``None``: none.
        ema: Decay of a running mean of the weights, which is what is exported then; ``None``: none.
        activation_checkpointing: Compute activations twice instead of keeping them.
        early_stopping: When to end early; ``None``: never.
        eval_every: Steps between validations (``data.eval``); ``None``: there are none.
        log_every: Steps between lines of the journal.
        on_nan: ``stop``, or ``skip`` the step whose loss or gradient is not a number.
        seed: Of data order and dropout; ``None``: config's.
    """

    algo: str = attrs.field(default="baseline-mtp", validator=validators.in_(ALGORITHMS))
    trainer: Annotated[wmtp.Choice, wmtp.OfKind("trainer")] = attrs.field(factory=lambda: wmtp.Choice(name="mtp-v1"))
    scorer: Annotated[wmtp.Choice, wmtp.OfKind("scorer")] | None = None
    control: Annotated[wmtp.Choice, wmtp.OfKind("control")] | None = None
    reference: Annotated[str, wmtp.Resolved("model")] | None = None
    critic: Annotated[str, wmtp.Resolved("path")] | None = None
    num_epochs: int = attrs.field(default=1, validator=[validators.ge(1), validators.le(MOST)])
    max_steps: int | None = attrs.field(
        default=None, validator=validators.optional([validators.ge(1), validators.le(MOST)])
    )
    batch_size: int = attrs.field(default=8, validator=[validators.ge(1), validators.le(MOST_ROWS)])
    micro_batch_size: int = attrs.field(default=1, validator=[validators.ge(1), validators.le(MOST_ROWS)])
    heads: HeadsConfig = HeadsConfig()
    lora: LoraConfig | None = None
    ema: float | None = attrs.field(
        default=None, validator=validators.optional([validators.gt(0.0), validators.lt(1.0)])
    )
    activation_checkpointing: bool = False
    early_stopping: EarlyStoppingConfig | None = None
    eval_every: int | None = attrs.field(default=None, validator=validators.optional(validators.ge(1)))
    log_every: int = attrs.field(default=1, validator=validators.ge(1))
    on_nan: Literal["stop", "skip"] = "stop"
    seed: int | None = attrs.field(
        default=None, validator=validators.optional([validators.ge(0), validators.le(LARGEST_SEED)])
    )


@attrs.frozen(kw_only=True)
class OptimConfig:
    """``optim``: AdamW and its schedule. Weight decay is on matrices alone.

    Attributes:
        optimizer: The one there is.
        lr: The rate after the warm-up.
        betas: Of the running means of the gradient and of its square.
        eps: Added to the root of the latter.
        weight_decay: Share of a matrix, times the rate, that a step takes away.
        grad_clip: Norm that a gradient is scaled down to; ``None``: as it is.
        scheduler: How the rate goes from `lr` after the warm-up to ``min_lr_ratio`` of it: ``cosine``, ``linear``,
            ``constant`` (stays), or ``wsd`` (stays, and falls in the last ``decay_ratio`` of the steps).
        warmup_ratio: Share of the steps in which the rate rises.
        warmup_steps: Steps, instead of a share.
        min_lr_ratio: Share of `lr` that the rate ends at.
        decay_ratio: Of ``wsd``: share of the steps in which the rate falls.
    """

    optimizer: Literal["adamw"] = "adamw"
    lr: float = attrs.field(default=2e-5, validator=_FACTOR)
    betas: tuple[float, float] = attrs.field(
        default=(0.9, 0.95), validator=validators.deep_iterable([validators.ge(0.0), validators.lt(1.0)])
    )
    eps: float = attrs.field(default=1e-8, validator=_FACTOR)
    weight_decay: float = attrs.field(default=0.1, validator=_FACTOR_OR_NONE)
    grad_clip: float | None = attrs.field(default=1.0, validator=_none_or_positive)
    scheduler: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    warmup_ratio: float = attrs.field(default=0.03, validator=_SHARE)
    warmup_steps: int | None = attrs.field(default=None, validator=validators.optional(validators.ge(0)))
    min_lr_ratio: float = attrs.field(default=0.0, validator=_SHARE)
    decay_ratio: float = attrs.field(default=0.2, validator=[validators.gt(0.0), validators.le(1.0)])


@attrs.frozen(kw_only=True)
class SourceConfig:
    """One of ``data.train.sources``: a data set, and what is read of it.

    Attributes:
        dataset: Its name, as `wmtp plugins list` shows it. ``jsonl`` reads a file of prompt and answer, or text.
        split: In the data set's own words.
        path: File, folder or URL that goes before everything configured; a relative one is beside the recipe.
        limit: The first N rows; ``None``: all.
    """

    dataset: str
    split: str = "train"
    path: Annotated[str, wmtp.Resolved("path")] | None = None
    limit: int | None = attrs.field(default=None, validator=validators.optional(validators.ge(1)))


@attrs.frozen(kw_only=True)
class DataPartConfig:
    """``data.train`` and ``data.eval``: which examples, and how they become rows.

    Attributes:
        sources: Data sets.
        max_length: Tokens of a row. Longer examples are cut at the end.
        pack_sequences: Put several examples into a row; none sees another, and no head predicts across a border.
        prompt_weight: Weight of a prompt's tokens beside those of its answer; 0: they are not trained.
        chat: Put prompts into the tokenizer's chat template, as a user's turn.
    """

    sources: tuple[SourceConfig, ...] = attrs.field(validator=validators.min_len(1))
    max_length: int = attrs.field(default=2048, validator=validators.ge(2))
    pack_sequences: bool = True
    prompt_weight: float = attrs.field(default=0.0, validator=_SHARE)
    chat: bool = False


@attrs.frozen(kw_only=True)
class DataConfig:
    """``data``: what is trained on, and what the validation loss is taken on.

    Attributes:
        train: What is trained on.
        eval: What the validation loss is taken on; ``None``: there is none.
    """

    train: DataPartConfig
    eval: DataPartConfig | None = None


@attrs.frozen(kw_only=True)
class CheckpointConfig:
    """``checkpoint``: when training's state is saved, and what is kept.

    Attributes:
        every: Steps between checkpoints; the last step always has one.
        keep_last: How many of the newest stay; ``None``: all.
        keep_best: How many stay of those with the lowest validation loss.
        asynchronous: Write beside training; a checkpoint counts when it is whole.
        upload: Where a checkpoint goes once it is whole: a URL such as ``s3://bucket/prefix``; ``None``: nowhere.
    """

    every: int = attrs.field(default=500, validator=validators.ge(1))
    keep_last: int | None = attrs.field(default=3, validator=_none_or_positive)
    keep_best: int = attrs.field(default=0, validator=validators.ge(0))
    asynchronous: bool = True
    upload: str | None = None


@attrs.frozen(kw_only=True)
class ReferenceConfig:
    """``reference``: a model that `wmtp run` trains first, for scorers that look at a reference's loss.

    It is a training of its own in ``runs/<run name>/reference``, from the same model unless `base_id` names another.

    Attributes:
        data: As the section of that name, for this training.
        base_id: What it starts from; ``None``: the model that is trained.
        train: As the section of that name, for this training.
        optim: As the section of that name, for this training.
        checkpoint: As the section of that name, for this training.
    """

    data: DataConfig
    base_id: Annotated[str, wmtp.Resolved("model")] | None = None
    train: TrainConfig = attrs.field(factory=TrainConfig)
    optim: OptimConfig = attrs.field(factory=OptimConfig)
    checkpoint: CheckpointConfig = attrs.field(factory=CheckpointConfig)


@attrs.frozen(kw_only=True)
class Sections:
    """The four sections of one recipe."""

    train: TrainConfig
    optim: OptimConfig
    data: DataConfig
    checkpoint: CheckpointConfig


def sections_of(recipe: Any) -> Sections:
    """What the recipe says of training, with defaults where it is silent. Raises ConfigError without ``data``."""
    found = recipe.sections
    if "data" not in found:
        raise wmtp.ConfigError(
            "the recipe has no section data, so there is nothing to train on: data: {train: {sources: [{dataset: mbpp}]}}"
        )
    return Sections(
        train=found.get("train", TrainConfig()),
        optim=found.get("optim", OptimConfig()),
        data=found["data"],
        checkpoint=found.get("checkpoint", CheckpointConfig()),
    )
