"""Options of the scorers. Free of torch, so that a recipe can be checked without it."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import validators


@attrs.frozen(kw_only=True)
class WeightSettings:
    """Options that every scorer has: those of `normalize_weights`.

    Attributes:
        temperature: Of the softmax over scores; small ones make weights extreme.
        min_weight: Smallest weight of a token.
        max_weight: Largest weight of a token.
    """

    temperature: float = attrs.field(default=0.7, validator=validators.gt(0))
    min_weight: float = attrs.field(default=0.05, validator=[validators.gt(0), validators.le(1)])
    max_weight: float = attrs.field(default=3.0, validator=validators.ge(1))

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `normalize_weights`."""
        return {"temperature": self.temperature, "min_weight": self.min_weight, "max_weight": self.max_weight}


@attrs.frozen(kw_only=True)
class CriticDeltaSettings(WeightSettings):
    """Options of ``critic-delta-v1``: those of every scorer."""


@attrs.frozen(kw_only=True)
class Rho1Settings(WeightSettings):
    """Options of ``rho1-excess-v1``, beside those of every scorer.

    Attributes:
        kind: ``signed``, or ``absolute``, which up-weights junk (docs/decisions/0070).
        top: Share of tokens to emphasise.
        skip: Share of tokens, those of the lowest scores, that are masked out: their weight is 0, and the mean is 1 over the
            others.
    """

    kind: Literal["signed", "absolute"] = attrs.field(
        default="signed", validator=validators.in_(("signed", "absolute"))
    )
    top: float = attrs.field(default=1.0, validator=[validators.gt(0), validators.le(1)])
    skip: float = attrs.field(default=0.0, validator=[validators.ge(0), validators.lt(1)])


@attrs.frozen(kw_only=True)
class GivenSettings:
    """Options of ``given-v1``. The bounds are wide: whoever gives weights means their ratios.

    Attributes:
        min_weight: Smallest weight of a token whose given weight is not 0, after scaling.
        max_weight: Largest weight of a token.
    """

    min_weight: float = attrs.field(default=1e-4, validator=[validators.gt(0), validators.le(1)])
    max_weight: float = attrs.field(default=1e4, validator=validators.ge(1))


@attrs.frozen(kw_only=True)
class DftSettings(WeightSettings):
    """Options of ``dft-v1``: those of every scorer. At temperature 1 a weight is proportional to the probability itself."""

    temperature: float = attrs.field(default=1.0, validator=validators.gt(0))


@attrs.frozen(kw_only=True)
class TawGaeSettings(WeightSettings):
    """Options of ``taw-gae-v1``, beside those of every scorer.

    Attributes:
        gamma: Discount of the next value.
        lam: λ of generalised advantage estimation: 0 looks one token ahead, 1 to the end.
        momentum: How much of the running mean and variance a step keeps.
    """

    gamma: float = attrs.field(default=1.0, validator=[validators.gt(0), validators.le(1)])
    lam: float = attrs.field(default=0.95, validator=[validators.ge(0), validators.le(1)])
    momentum: float = attrs.field(default=0.99, validator=[validators.ge(0), validators.lt(1)])
