"""What a paired test can find at best: no rule about variances promises more than the test itself keeps.

A difference of shares is found best where nothing speaks against it: the first run fails, and whatever the second one passes is
a gain. Two such cases are looked at, and the better one counts. *Whole problems* change, all their samples, as many as a
binomial draw at that rate; or *single samples* do. The test needs some gains before its p-value can be 0.05: five problems
with one sample each (McNemar's mid-p is then 1/32), one where three samples or more of a problem change at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

LEVEL = 0.05
POWER = 0.8
MOST = 1 << 40
FEWEST = math.ceil(-math.log2(LEVEL))  # problems that differ one way, of which mid-p is 2 to minus their number


@attrs.frozen(kw_only=True)
class BestCase:
    """How far one problem can move a metric, and what the test counts.

    Attributes:
        size: The most that one problem's value can differ; 0 where differences are so many that variances tell more.
        k: Of pass@k; 1 for other metrics.
        shared: Whether samples of one index are exchanged, and not any samples.
        rounding: The least difference that is one.
    """

    size: float
    k: int = 1
    shared: bool = False
    rounding: float = 0.0

    def least(self, problems: int, samples: float = 1.0) -> float:
        """Return the smallest difference with a power of 80 % at best; infinite where no difference has it."""
        each = max(1, math.floor(samples + 1e-9))
        flips = self._whole_problems(each)
        whole = rate_for(flips, problems)
        single = rate_for(FEWEST, problems * each) if each > 1 else math.inf
        rate = min(whole, 1 - (1 - min(single, 1.0)) ** self.k if single < math.inf else math.inf)
        return rate if rate == math.inf else max(self.size * rate, self.rounding)

    def _whole_problems(self, each: int) -> int:
        """How many problems must change in all their samples, for a mid-p of 0.05."""
        each = min(each, FEWEST)  # so many in one problem are enough in any case
        ways = each * math.log(2) if self.shared else math.log(math.comb(2 * each, each))
        return max(1, math.ceil(-math.log(LEVEL) / ways - 1e-9))

    def problems_for(self, difference: float, samples: float) -> int:
        """Return the fewest problems of which `difference` has a power of 80 % at best."""
        return fewest(lambda problems: self.least(problems, samples) <= difference)

    def samples_for(self, difference: float, problems: int) -> int | None:
        """Return the fewest samples a problem of which it has; ``None`` where none do."""
        found = fewest(lambda samples: self.least(problems, samples) <= difference)
        return found if found < MOST else None


def rate_for(flips: int, trials: int) -> float:
    """Return the rate at which `trials` bring `flips` or more in 80 of 100 cases; infinite where they are too few."""
    if trials < flips:
        return math.inf
    low, high = 0.0, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        fewer = sum(
            math.exp(_log_ways(trials, j) + j * math.log(rate) + (trials - j) * math.log1p(-rate)) for j in range(flips)
        )
        low, high = (rate, high) if fewer > 1 - POWER else (low, rate)
    return high


def _log_ways(trials: int, chosen: int) -> float:
    return math.log(math.comb(trials, chosen))  # chosen is below 5


def fewest(enough: Callable[[int], bool]) -> int:
    """Return the smallest number of which `enough` holds, which then holds of every larger one; `MOST` where none does."""
    high = 1
    while high < MOST and not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
