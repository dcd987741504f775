"""Differences of floats, without what rounding alone makes of them: 0.1 is what the mean of three times 0.1 is."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

ULPS = 4  # a mean of a few numbers, or a percentage taken as a share, is no farther off
ROUNDING = ULPS * sys.float_info.epsilon


def differences(a: Any, b: Any) -> Array:
    """Return b − a, a problem's difference being 0 where it is no more than rounding of its two values."""
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return without_rounding(right - left, ROUNDING * np.maximum(np.abs(left), np.abs(right)))


def slopes(rows: Array, steps: Array) -> Array:
    """Return each row's least-squares slope over `steps`, whose sum is 0, without what is rounding of its values."""
    square = float(steps @ steps)
    limits = (ROUNDING + len(steps) * sys.float_info.epsilon) * (np.abs(rows) @ np.abs(steps)) / square
    return without_rounding(rows @ steps / square, limits)


def without_rounding(values: Array, limits: Array) -> Array:
    """Return `values`, of which each may be off by its limit: 0 where it may be 0, and all equal where all may be."""
    found: Array = np.where(np.abs(values) <= limits, 0.0, values)
    if found.all() and (values - limits).max() <= (values + limits).min():
        return np.full_like(values, float(np.median(values)))
    return found


def spreads(values: Array, scale: float) -> NDArray[np.bool_]:
    """Return of each row whether its values differ by more than rounding of numbers as large as `scale`."""
    found: NDArray[np.bool_] = np.ptp(values, axis=-1) > ROUNDING * scale
    return found
