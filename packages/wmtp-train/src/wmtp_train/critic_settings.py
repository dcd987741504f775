"""The section ``critic`` of a recipe: how a value model is made from judged samples."""

from __future__ import annotations

from typing import Annotated

import attrs
from attrs import validators

import wmtp
from wmtp_train.settings import MOST, MOST_ROWS

_RATE = [validators.ge(0.0), validators.lt(1.0)]


@attrs.frozen(kw_only=True)
class CriticConfig:
    """``critic``: a value model that ranks programs that passed above programs that failed.

    Attributes:
        run: Run folder whose samples were judged: ``runs/<name>``. Problems with both passes and failures give pairs.
        evaluator: Whose samples; ``None``: the only one there.
        pairs_per_problem: At most so many pairs of one problem.
        length_ratio: A pair's longer text has at most so many times the tokens of the shorter.
        max_length: Tokens of a text; longer ones give no pair.
        steps: Optimiser steps.
        batch_pairs: Pairs of one step.
        lr: Of the value head.
        trunk_lr: Of the model under it; 0: it stays as it is.
        held_out: Share of the problems that are not trained on, and that the accuracy is of.
    """

    run: Annotated[str, wmtp.Resolved("path")]
    evaluator: str | None = None
    pairs_per_problem: int = attrs.field(default=8, validator=validators.ge(1))
    length_ratio: float = attrs.field(default=2.0, validator=[validators.ge(1.0), validators.le(float(MOST))])
    max_length: int = attrs.field(default=2048, validator=validators.ge(2))
    steps: int = attrs.field(default=200, validator=[validators.ge(1), validators.le(MOST)])
    batch_pairs: int = attrs.field(default=8, validator=[validators.ge(1), validators.le(MOST_ROWS)])
    lr: float = attrs.field(default=1e-3, validator=[validators.gt(0.0), validators.le(float(MOST))])
    trunk_lr: float = attrs.field(default=1e-5, validator=[validators.ge(0.0), validators.le(float(MOST))])
    held_out: float = attrs.field(default=0.2, validator=_RATE)
