"""Metrics and counts of a benchmark, from what is on disk."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wmtp.contracts.engines import Completion
from wmtp.contracts.evaluation import EvaluationResult, MetricValue, Problem, Sample, Verdict
from wmtp.contracts.judging import CallTests, StdioTests
from wmtp.contracts.values import ALONE, finite
from wmtp.errors import ConfigError
from wmtp.evaluation.asking import TooLongCount
from wmtp.evaluation.failing_tests import failing_tests
from wmtp.evaluation.failures import Failures
from wmtp.evaluation.metrics import summarise
from wmtp.evaluation.taken_out import TakenOut
from wmtp.kit.scores import pass_at_k, passed_first, share_of_tests

if TYPE_CHECKING:
    from wmtp.evaluation.benchmark import CodeBenchmark

MAX_NOTES = 20  # of what is missing, named one by one
MAX_NAMED_SAMPLES = 10  # samples of a problem
log = logging.getLogger("wmtp.evaluation")


class Tally:
    """Counts a benchmark's samples and verdicts, problem by problem. One sample short, and every metric is ``None``."""

    def __init__(
        self,
        benchmark: CodeBenchmark,
        wanted: Mapping[str, int],
        errors: Sequence[Completion],
        too_long: Sequence[str],
    ) -> None:
        """Begin to count.

        Args:
            benchmark: Whose metrics.
            wanted: Problem → samples that it was to get.
            errors: What the engine wrote instead of a sample; it may grow until `result`.
            too_long: Problems of samples that are not there because their prompt did not fit, one entry a sample; it may grow
                as well.
        """
        self._benchmark, self._task = benchmark, benchmark.task
        self._wanted, self._errors, self._absent = wanted, errors, too_long
        self._too_long = TooLongCount()
        self._told_of: Counter[str] = Counter()
        """Problem → errors that are told one by one."""
        self._counts: Counter[str] = Counter()
        self._values: dict[str, dict[str, float]] = {name: {} for name in self._task.metrics}
        self._complete, self._problems, self._present = True, 0, 0
        self._unjudged: list[str] = []
        self._silent: list[str] = []
        self._failures, self._taken_out = Failures(), TakenOut()
        self._failing: dict[str, dict[int, str]] = {}

    def add(self, problem: Problem, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> None:
        """All that is on disk of a problem and is wanted."""
        benchmark, n = self._benchmark, self._wanted[problem.id]
        self._problems += 1
        self._present += len(samples)
        for sample in samples:
            self._too_long.add(sample)
        self._counts.update(v.outcome.status for v in verdicts)
        self._failures.add(problem.id, samples, verdicts)
        if failing := failing_tests(verdicts, partial(self._tests, problem, samples)):
            self._failing[problem.id] = failing
        if benchmark._wanted(problem) is not None:
            recode, rejudge = partial(benchmark._recode, problem), partial(benchmark._rejudge, problem)
            self._taken_out.add(samples, verdicts, recode, rejudge)
        lost = [v for v in verdicts if v.outcome.status == "infrastructure"]
        self._unjudged += [f"problem {problem.id}, sample {v.key.index}: {v.outcome.detail}" for v in lost]
        if len(samples) < n or len(verdicts) < n or lost:
            self._complete = False
            self._silent += _short(problem.id, n - self._told(problem.id), len(samples), len(verdicts))
            return
        for name, value in self._of_problem(problem, samples, verdicts).items():
            self._values[name][problem.id] = value

    def result(self) -> EvaluationResult:
        """Metrics and counts of what was added."""
        for problem in self._absent:
            self._too_long.add_absent(problem)
        missing = [*_named(self._errors), *self._unjudged, *self._silent]
        more = [f"… and {len(missing) - MAX_NOTES} more"] if len(missing) > MAX_NOTES else []
        metrics: dict[str, MetricValue] = {
            name: summarise(list(found.values()) if self._complete else None, self._problems, self._present)
            for name, found in self._values.items()
        }
        return EvaluationResult(
            evaluator=self._task.evaluator,
            metrics=metrics,
            counts=dict(self._counts),
            notes=(*missing[:MAX_NOTES], *more, *self._too_long.notes()),
            report=(*self._greedy_note(), *self._failures.markdown(), *self._taken_out.markdown()),
            values=self._values,
            too_long=self._too_long.counts,
            failing_tests=self._failing,
        )

    def _told(self, problem: str) -> int:
        if self._told_of.total() < len(self._errors):
            self._told_of = Counter(error.key.problem for error in self._errors)
        return self._told_of[problem]

    def _tests(self, problem: Problem, samples: Sequence[Sample]) -> CallTests | StdioTests:
        with self._benchmark._own("program", f"problem {problem.id}"):
            return self._benchmark.program(problem, next(s.code for s in samples if s.code))

    def _greedy_note(self) -> tuple[str, ...]:
        n = max(self._wanted.values(), default=1)
        if self._task.stored is not None or self._task.sampling.temperature or n < 2:
            return ()
        note = (
            f"Temperature 0 is greedy: the {n} samples of a problem are identical, and pass@k is pass@1 for every k. Set "
            "eval.sampling.temperature above 0 for samples that can differ, or ask for pass@1 alone."
        )
        log.warning("%s: %s", self._task.evaluator, note)
        return (note, "")

    def _of_problem(self, problem: Problem, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[str, float]:
        """The problem's value of each metric."""
        own = None
        found = {}
        for name in self._task.metrics:
            base, _, k = name.rpartition("@")
            if base == self._benchmark.pass_metric and base:
                found[name] = pass_at_k(len(verdicts), sum(v.outcome.passed for v in verdicts), int(k))
                continue
            if base == self._benchmark.first_metric and base:
                found[name] = pass_at_k(len(verdicts), sum(map(passed_first, verdicts)), int(k))
                continue
            if name == self._benchmark.tests_metric:
                found[name] = share_of_tests(verdicts)
                continue
            if own is None:
                with self._benchmark._own("score", f"problem {problem.id}"):
                    own = self._benchmark.score(problem, samples, verdicts)
                    for value in own.values():
                        finite(None, ALONE, value)
            if own.get(name) is None:
                raise ConfigError(f"{type(self._benchmark).__name__}.score gave no value for {name}")
            found[name] = own[name]
        return found


def _short(problem: str, wanted: int, samples: int, verdicts: int) -> list[str]:
    """What to say of a problem that lacks samples, or verdicts of them, beyond those whose error is named."""
    if samples < wanted:
        return [f"problem {problem}: {wanted - samples} of {wanted} samples are missing; the engine ended without them"]
    if verdicts < samples:
        return [f"problem {problem}: {samples - verdicts} of {samples} verdicts are missing"]
    return []


def _named(errors: Sequence[Completion]) -> Iterator[str]:
    """A line for each problem and what its samples ended with."""
    alike: dict[tuple[str, str], list[int]] = {}
    for completion in errors:
        alike.setdefault((completion.key.problem, completion.error), []).append(completion.key.index)
    for (problem, error), indices in alike.items():
        listed = ", ".join(map(str, indices[:MAX_NAMED_SAMPLES])) + (", …" if len(indices) > MAX_NAMED_SAMPLES else "")
        yield f"problem {problem}, sample{'s' if len(indices) > 1 else ''} {listed}: {error or 'the engine gives no reason'}"
