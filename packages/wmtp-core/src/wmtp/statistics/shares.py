"""Shares of sums over problems, with 95 % intervals over problems.

The unit is the problem: tokens of one problem resemble each other. A share is a ratio of two sums over problems; its
variance is that of the ratio's linear part (delta method) with the small-sample factor n / (n − 1), and the interval
takes Student's t with n − 1 degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from wmtp.statistics.quantiles import student_quantile


@attrs.frozen
class Share:
    """A ratio of sums over problems.

    Attributes:
        value: the ratio, or ``None`` where nothing was counted.
        low, high: its 95 % interval over problems, or ``None`` where a single problem shows no spread.
        problems: how many problems it is taken over.
    """

    value: float | None
    low: float | None
    high: float | None
    problems: int

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]], *, noise: Sequence[float] = ()) -> Share:
        """The share of (numerator, denominator) pairs, one a problem.

        Args:
            pairs: one pair a problem; problems whose denominator is 0 say nothing and are left out.
            noise: further variance of each numerator, as of figures that a run will count and not only expect.
        """
        extra = list(noise) or [0.0] * len(pairs)
        kept = [(a, b, e) for (a, b), e in zip(pairs, extra, strict=True) if b > 0]
        total = math.fsum(b for _, b, _ in kept)
        if not kept:
            return cls(None, None, None, 0)
        value, count = math.fsum(a for a, _, _ in kept) / total, len(kept)
        if count == 1:
            return cls(value, None, None, 1)
        spread = math.fsum((a - value * b) ** 2 for a, b, _ in kept) * count / (count - 1)
        half = student_quantile(0.975, count - 1) * math.sqrt(spread + math.fsum(e for _, _, e in kept)) / total
        return cls(value, value - half, value + half, count)

    @property
    def interval(self) -> list[float] | None:
        """``[low, high]``, as JSON has it."""
        return None if self.low is None or self.high is None else [self.low, self.high]

    def within(self, low: float, high: float) -> Share:
        """The same, with the interval cut to what is possible: shares of 1, say."""
        if self.low is None or self.high is None:
            return self
        return attrs.evolve(self, low=max(low, self.low), high=min(high, self.high))
