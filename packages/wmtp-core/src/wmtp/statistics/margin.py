"""What a difference that matters may be: one bound for ``--equivalent``, ``--difference``, ``eval.decide`` and plans."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

LEAST = 1e-6  # below it no number of problems would do


def check_margin(value: Any, *, share: bool) -> None:
    """Raise ValueError, saying what it must be, where a value is no size of a difference; share: of values from 0 to 1."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < LEAST or (share and value >= 1):
        bound = (
            f"from {LEAST:g} to below 1: it is a difference of shares, of which any two lie within 1"
            if share
            else f"of {LEAST:g} or more, in the metric's unit"
        )
        raise ValueError(f"must be a number {bound} (0.02 is two points); not {value!r}")
