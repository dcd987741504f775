"""Comparing while sampling goes on: a test whose error holds whenever one stops.

Samples of two runs are paired by problem and index. If the runs are alike on every problem, a pair in which exactly one sample
passes favours either run with probability one half, whatever was seen before, whichever problems were chosen, and also where
both runs share their noise. So the count of pairs won, among those that differ, is a fair coin, and betting against it gains
nothing: the wealth of a bettor is an e-process. By Ville's inequality it ever reaches 20 with probability 1/20 at most, so a
look that finds it there is a decision, however often one looks.

Two bettors share the first stake, one for each direction. Before each pair they stake the share of their wealth that grows
fastest if the true difference is the one that is looked for (Kelly 1956; Waudby-Smith and Ramdas 2024): that difference over
the share of pairs that differed so far.

Two more bettors hold that the runs differ by less than the difference that is looked for: one bets against "b is better by that
much or more", one against "worse". They are empirical-Bernstein supermartingales (Fan, Grama and Liu 2015; Howard, Ramdas,
McAuliffe and Sekhon 2021): for x in {-1, 0, 1} of mean m, exp(s(x - m) - psi(s)x^2) with psi(s) = -log(1 - s) - s does not grow
on average. A problem's own mean is not known, but over a whole round, each problem once, they add up to the difference of the
runs; so these two are read at the end of rounds, and their stake s stays the same within one. When both have reached 20 the
runs are equivalent: where the true difference is as large as the one looked for, that happens with probability 1/20 at most.
"""

from __future__ import annotations

import math

import attrs

from wmtp.statistics.margin import check_margin

LEVEL = 0.05
# The share of pairs that differ, as long as few were seen, and how many pairs that guess weighs like.
USUAL_DISCORDANCE, ITS_WEIGHT = 0.3, 20.0
LARGEST_STAKE = 0.5


@attrs.define(kw_only=True)
class SequentialComparison:
    """The bets against "the runs are alike", and against "they differ by so much".

    Attributes:
        difference: The difference of pass@1 that is looked for; chosen before the first pair.
        level: The chance of a false decision, over all times of looking.
        pairs: Pairs seen. won, lost: those of them in which run b's sample alone passed, or run a's.
        decision: ``better``, ``worse`` or ``equivalent``, of run b, once a look found that it stands; ``""`` before.
    """

    difference: float
    level: float = LEVEL
    pairs: int = attrs.field(default=0, init=False)
    won: int = attrs.field(default=0, init=False)
    lost: int = attrs.field(default=0, init=False)
    decision: str = attrs.field(default="", init=False)
    _log_up: float = attrs.field(default=0.0, init=False)
    _log_down: float = attrs.field(default=0.0, init=False)
    _round: _Round = attrs.field(init=False)
    _log_not_better: float = attrs.field(default=0.0, init=False)
    _log_not_worse: float = attrs.field(default=0.0, init=False)
    _most_not_better: float = attrs.field(default=0.0, init=False)
    _most_not_worse: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        check_margin(self.difference, share=True)
        self._round = self._new_round()

    @property
    def e_value(self) -> float:
        """The wealth of the two who bet against "alike", together, having begun with 1."""
        return (_exp(self._log_up) + _exp(self._log_down)) / 2

    @property
    def equivalence_e_value(self) -> float:
        """The most that the poorer of the two who bet against "they differ by so much" ever had, having begun with 1."""
        return _exp(min(self._most_not_better, self._most_not_worse))

    def add(self, a: bool, b: bool) -> None:
        """Count the pair of one problem and index: whether run a's and run b's sample passed."""
        differing = self._differing()
        self.pairs += 1
        self._round.pairs += 1
        if a == b:
            return
        stake = min(LARGEST_STAKE, self.difference / differing)
        self._log_up += math.log(1 + stake if b else 1 - stake)
        self._log_down += math.log(1 - stake if b else 1 + stake)
        self.won += b
        self.lost += a
        self._round.sum += 1 if b else -1
        self._round.differing += 1

    def end_round(self) -> None:
        """Say that since the last round's end every problem has had one pair. Without that, nothing is found equivalent."""
        ended, self._round = self._round, self._new_round()
        reach = ended.stake * ended.pairs * self.difference
        cost = (-math.log1p(-ended.stake) - ended.stake) * ended.differing
        self._log_not_better += reach - ended.stake * ended.sum - cost
        self._log_not_worse += reach + ended.stake * ended.sum - cost
        self._most_not_better = max(self._most_not_better, self._log_not_better)
        self._most_not_worse = max(self._most_not_worse, self._log_not_worse)

    def look(self) -> str:
        """Decide, if the answer stands now; a decision stays. Returns `decision`."""
        if not self.decision and self.e_value >= 1 / self.level:
            self.decision = "better" if self._log_up > self._log_down else "worse"
        elif not self.decision and self.equivalence_e_value >= 1 / self.level:
            self.decision = "equivalent"
        return self.decision

    def skip_round(self) -> None:
        """Say that a round ended in which a problem had no pair: it says nothing about equivalence."""
        self._round = self._new_round()

    def _differing(self) -> float:
        return (self.won + self.lost + USUAL_DISCORDANCE * ITS_WEIGHT) / (self.pairs + ITS_WEIGHT)

    def _new_round(self) -> _Round:
        # This stake grows fastest where the runs are alike: it makes s * difference - psi(s) * differing largest.
        return _Round(stake=self.difference / (self.difference + self._differing()))


@attrs.define(kw_only=True)
class _Round:
    """Pairs since the last round's end: how many, those that differ, the sum of b less a; and the stake, set before them."""

    stake: float
    pairs: int = 0
    differing: int = 0
    sum: int = 0


def _exp(log: float) -> float:
    return math.exp(min(log, 700.0))
