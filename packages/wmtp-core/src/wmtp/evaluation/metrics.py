"""A metric's mean with its interval over problems."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from wmtp.contracts.evaluation import MetricValue

if TYPE_CHECKING:
    from wmtp.statistics.intervals import Interval


def interval(values: Sequence[float], unit: str = "") -> Interval | None:
    """Return the 95 % interval of the mean over new problems like these, and the method it was made by, if there is one.

    Values without a unit that lie between 0 and 1 are shares; all others are not (`wmtp.statistics.intervals`).
    """
    from wmtp.statistics.intervals import mean_interval

    return mean_interval(values, share=not unit and min(values) >= 0 and max(values) <= 1)


def summarise(values: Sequence[float] | None, problems: int, samples: int, unit: str = "") -> MetricValue:
    """Mean and interval of per-problem values; all ``None`` where the values are not complete."""
    if not values:
        return MetricValue(value=None, low=None, high=None, problems=problems, samples=samples, unit=unit)
    found = interval(values, unit)
    return MetricValue(
        value=fmean(values),
        low=found.low if found else None,
        high=found.high if found else None,
        problems=problems,
        samples=samples,
        unit=unit,
        method=found.method if found else "",
    )
