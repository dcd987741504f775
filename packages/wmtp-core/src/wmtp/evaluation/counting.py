"""A benchmark's problems counted in their order, at the end or as they get through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from wmtp.contracts.evaluation import EvaluationResult, Problem, Sample, Verdict
from wmtp.evaluation.tally import Tally

Stored = Iterator[tuple[str, Sequence[Sample], Sequence[Verdict]]]


class Counting:
    """Puts what is on disk of each problem into a tally."""

    def __init__(
        self,
        tally: Callable[[], Tally],
        problems: Mapping[str, Problem],
        stored: Callable[[], Stored],
        counts: Callable[[Sample], bool],
    ) -> None:
        """Begin with none.

        Args:
            tally: Makes an empty one.
            problems: In their order.
            stored: Reads all that is on disk, a problem at a time.
            counts: Whether a stored sample is one of those that are wanted.
        """
        self._begin, self._problems, self._read, self._counts = tally, problems, stored, counts
        self._start()
        self._failed = False

    def _start(self) -> None:
        self._tally, self._stored = self._begin(), self._read()
        self._waiting = list(self._problems)[::-1]

    def _add_next(self) -> None:
        self._waiting.pop()
        problem, all_samples, all_verdicts = next(self._stored)
        samples = [sample for sample in all_samples if self._counts(sample)]
        there = {sample.key.index for sample in samples}
        self._tally.add(self._problems[problem], samples, [v for v in all_verdicts if v.key.index in there])

    def ahead(self, through: Callable[[str], bool]) -> None:
        """Count the next problems that are `through`, while others are judged: at the end everybody would wait for it.

        What fails here, as a benchmark's own score may, fails again at the end, when all is judged.
        """
        try:
            while not self._failed and self._waiting and through(self._waiting[-1]):
                self._add_next()
        except Exception:  # noqa: BLE001  (raised by `result`)
            self._failed = True

    def result(self) -> EvaluationResult:
        """Metrics and counts of all problems. Raises what a benchmark's own methods raise."""
        if self._failed:
            self._start()
        while self._waiting:
            self._add_next()
        return self._tally.result()
