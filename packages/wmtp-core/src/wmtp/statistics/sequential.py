"""Comparing while sampling goes on: a test whose error holds whenever one stops.

Samples of two runs are paired by problem and index. If the runs are alike on every problem, a pair in which exactly one sample
passes favours either run with probability one half, whatever was seen before, whichever problems were chosen, and also where
both runs share their noise. So the count of pairs won, among those that differ, is a fair coin, and betting against it gains
nothing: the wealth of a bettor is an e-process. By Ville's inequality it ever reaches 20 with probability 1/20 at most.

Two bettors share the first stake, one for each direction. Before each pair they stake the share of their wealth that grows
fastest if the true difference is the one that is looked for (Kelly 1956; Waudby-Smith and Ramdas 2024): that difference over
the share of pairs that differed so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

LEVEL = 0.05
USUAL_DISCORDANCE, ITS_WEIGHT = (
    0.3,
    20.0,
)  # the share of pairs that differ, as long as few were seen, and what that guess weighs
LARGEST_STAKE = 0.5


@attrs.define(kw_only=True)
class SequentialComparison:
    """The bet against "the runs are alike".

    Attributes:
        difference: The difference of pass@1 that is looked for; chosen before the first pair.
        level: The chance of a false decision, over all times of looking.
        pairs: Pairs seen. won, lost: those of them in which run b's sample alone passed, or run a's.
    """

    difference: float
    level: float = LEVEL
    pairs: int = 0
    won: int = 0
    lost: int = 0
    _log_up: float = 0.0
    _log_down: float = 0.0

    def __attrs_post_init__(self) -> None:
        if not 0 < self.difference < 1:
            raise ValueError(f"the difference to decide lies between 0 and 1, not {self.difference}")

    @property
    def e_value(self) -> float:
        """The two bettors' wealth together, having begun with 1."""
        return (math.exp(min(self._log_up, 700.0)) + math.exp(min(self._log_down, 700.0))) / 2

    @property
    def decision(self) -> str:
        """``better``, ``worse``, or ``""`` as long as there is none; of run b."""
        if self.e_value < 1 / self.level:
            return ""
        return "better" if self._log_up > self._log_down else "worse"

    def add(self, a: bool, b: bool) -> None:
        """Count the pair of one problem and index: whether run a's and run b's sample passed."""
        differing = (self.won + self.lost + USUAL_DISCORDANCE * ITS_WEIGHT) / (self.pairs + ITS_WEIGHT)
        self.pairs += 1
        if a == b:
            return
        stake = min(LARGEST_STAKE, self.difference / differing)
        self._log_up += math.log(1 + stake if b else 1 - stake)
        self._log_down += math.log(1 - stake if b else 1 + stake)
        self.won += b
        self.lost += a


def after_rounds(
    a: Mapping[str, Mapping[int, bool]], b: Mapping[str, Mapping[int, bool]], *, difference: float
) -> SequentialComparison:
    """Return the bet after every pair that both runs have, index by index and problem by problem in run a's order.

    Every problem gets its next sample in turn. Choosing the problems whose samples are likeliest to differ was simulated and is
    worse where a gain is the same for easy and hard problems (decision 0062).

    Args:
        a, b: Problem → index → whether that sample passed.
    """
    bet = SequentialComparison(difference=difference)
    indices = sorted({index for problem in a for index in a[problem] if index in b.get(problem, {})})
    for index in indices:
        for problem, of in a.items():
            if index in of and index in b.get(problem, {}):
                bet.add(of[index], b[problem][index])
    return bet
