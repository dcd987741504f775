"""How much further sampling a question needs."""

from __future__ import annotations

import math

import attrs

from wmtp.statistics.paired import DETECTABLE, Difference


@attrs.frozen(kw_only=True)
class Needed:
    """What finds a true difference of `difference` in 80 of 100 cases, at 5 %.

    Attributes:
        difference: The difference it is for.
        samples: Samples a problem in each run, on as many problems as there are, for new problems like these; ``None`` where
            no number suffices, because problems differ more.
        problems: Problems like these, with as many samples as there are.
        samples_these: Samples a problem where the question is about these problems alone, as the p-value's is; ``None`` where
            one sample a problem cannot tell sampling from problems.
    """

    difference: float
    samples: int | None
    problems: int
    samples_these: int | None


def needed(found: Difference, difference: float) -> Needed:
    """Return what would show `difference`, with the variances that `found` has, and no less than the test needs at best."""
    difference, best = abs(difference), found.best
    error = difference / DETECTABLE
    problems = max(
        math.ceil(found.problems * (found.standard_error / error) ** 2), best.problems_for(difference, found.samples)
    )
    if found.within is None or found.between is None:
        return Needed(difference=difference, samples=None, problems=problems, samples_these=None)
    room = found.problems * error**2 - found.between
    least = best.samples_for(difference, found.problems)
    return Needed(
        difference=difference,
        samples=max(least, math.ceil(found.within / room)) if room > 0 and least else None,
        problems=problems,
        samples_these=max(least, math.ceil(found.within / (found.problems * error**2))) if least else None,
    )
