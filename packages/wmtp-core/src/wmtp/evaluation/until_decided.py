"""Sampling until it stands which of two runs is better (``eval.against``, ``eval.decide``, ``wmtp eval --until-decided``)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wmtp.comparison.checks import differences, refuse
from wmtp.comparison.folders import prompt_and_judge_keys, read_folder
from wmtp.comparison.records import Judged, RunData
from wmtp.errors import ConfigError
from wmtp.runs.folder import read_object
from wmtp.runs.reader import open_run
from wmtp.statistics.sequential import SequentialComparison

log = logging.getLogger("wmtp")

BATCH = 128  # samples between two looks, at least: an engine decodes many at once, and waits for the last of a batch
LOOKS_A_ROUND = 4


class UntilDecided:
    """Which samples one evaluator wants next; see `wmtp.contracts.evaluation.Stopping`.

    Every problem gets its next sample in turn, and each look is behind a batch of samples: a quarter of the problems, `BATCH`
    at least. The first batch is what the metrics need of every problem. How far it goes depends on outcomes alone, so a run
    that was killed goes on to the same decision.

    Attributes:
        bet: What was decided, from which pairs; ``None`` as long as nobody asked for a batch.
        most: The most samples that a problem may get.
    """

    def __init__(
        self, evaluator: str, *, folder: Path, against: Path, difference: float, first: int, most: int | None
    ) -> None:
        """Read the run to beat.

        Args:
            evaluator: Whose samples are compared.
            folder: The run's own folder. against: the folder of the finished run to beat.
            difference: The difference of pass@1 that is looked for.
            first: Samples a problem to begin with: the largest k that a metric needs.
            most: The most samples a problem; ``None``: as many as the run to beat has. There are never more than that.

        Raises:
            ConfigError: The run to beat is not finished, is this one, or has no outcomes of this evaluator.
        """
        if against.exists() and os.path.samefile(folder, against):
            raise ConfigError(f"eval.against: {against} is this run itself; give another run.name")
        self._baseline = read_folder(open_run(against).folder)  # what is no run folder is said to be none
        if evaluator not in self._baseline.judged:
            raise ConfigError(f"eval.against: {against} has no judged samples of {evaluator}")
        self._theirs = self._baseline.judged[evaluator].passed
        self._evaluator, self._folder, self._difference, self._first = evaluator, folder, difference, first
        theirs = 1 + max(index for of in self._theirs.values() for index in of)
        self.most = max(first, theirs if most is None else min(most, theirs))
        self.bet: SequentialComparison | None = None
        self._reached = 0

    def batches(
        self, *, rows: Mapping[str, str], prompts: Mapping[str, str], passed: Mapping[tuple[str, int], bool]
    ) -> Iterator[Sequence[tuple[str, int]]]:
        """See `wmtp.contracts.evaluation.Stopping.batches`. Raises ConfigError where the runs measured different things."""
        self._check(rows, prompts)
        self.bet = bet = SequentialComparison(difference=self._difference)
        problems = list(rows)
        self._reached = self._first
        yield [(problem, index) for problem in problems for index in range(self._first)]
        for index in range(self._first):
            self._pair(bet, [(problem, index) for problem in problems], passed)
            self._end_round(bet, problems, index, passed)
        size = max(BATCH, -(-len(problems) // LOOKS_A_ROUND))
        for index in range(self._first, self.most):
            for start in range(0, len(problems), size):
                if bet.look():
                    return
                self._reached = index + 1
                batch = [(problem, index) for problem in problems[start : start + size]]
                yield batch
                self._pair(bet, batch, passed)
            self._end_round(bet, problems, index, passed)
        bet.look()

    def _pair(
        self, bet: SequentialComparison, keys: Sequence[tuple[str, int]], passed: Mapping[tuple[str, int], bool]
    ) -> None:
        for key in keys:
            theirs = self._theirs.get(key[0], {})
            if key[1] in theirs and key in passed:
                bet.add(theirs[key[1]], passed[key])

    def _end_round(
        self, bet: SequentialComparison, problems: Sequence[str], index: int, passed: Mapping[tuple[str, int], bool]
    ) -> None:
        if all(index in self._theirs.get(problem, {}) and (problem, index) in passed for problem in problems):
            bet.end_round()
        else:
            bet.skip_round()

    def _check(self, rows: Mapping[str, str], prompts: Mapping[str, str]) -> None:
        keys = read_object(self._folder / "keys.json") or {}
        ours = Judged(
            passed={problem: {} for problem in rows},
            keys=prompt_and_judge_keys(keys, self._evaluator),
            rows=rows,
            prompts=prompts,
        )
        own = RunData(name=self._folder.name, path=self._folder, judged={self._evaluator: ours})
        found = differences([self._baseline, own], [self._evaluator])
        refuse([d for d in found if not d["key"].startswith("extraction")], (), despite_is_offered=False)

    @property
    def note(self) -> str:
        """What was decided, for people."""
        name, bet = self._baseline.name, self.bet
        if bet is None:
            return f"this evaluator cannot stop early; `wmtp compare` says how the run stands to {name}"
        words = {"": f"undecided against {name}", "equivalent": f"equivalent to {name} within {self._difference:g}"}
        said = words.get(bet.decision, f"{bet.decision} than {name}")
        if not bet.decision:
            said += f" (eval.sampling.n and {name} itself allow {self.most} a problem)"
        return (
            f"{said} after {bet.pairs} pairs of samples, up to {self._reached} a problem: {bet.won} won, {bet.lost} lost; "
            f"e-value {bet.e_value:.3g}, of equivalence {bet.equivalence_e_value:.3g} (20 decides)"
        )
