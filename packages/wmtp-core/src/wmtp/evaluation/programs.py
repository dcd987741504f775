"""Programs on their way through the judge, and what becomes of an outcome before it is a verdict."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import attrs

from wmtp.contracts.evaluation import Problem, Sample, Verdict
from wmtp.contracts.judging import CallTests, Outcome, StdioCase, StdioTests, check_case
from wmtp.evaluation.asking import sha256
from wmtp.evaluation.feeder import Feeder

if TYPE_CHECKING:
    from wmtp.evaluation.benchmark import CodeBenchmark

NO_TESTS = "the problem has no tests, so every program would pass"
AS_THE_REFERENCE = "the reference solution ends in the same way, so the tests lack something"
AT_HAND = 128
"""Programs that wait for the judge in memory. Of those behind them only the keys are kept: they are on disk."""
Key = tuple[str, int]


@attrs.frozen(eq=False)
class _Judged:
    """A program whose judging ended."""

    problem: Problem
    sample: Sample
    future: Future[Outcome]


@attrs.frozen
class _Cases:
    """Cases that are made while the judge reads them, as often as it does; what fails there is the plugin's."""

    cases: Iterable[StdioCase]
    benchmark: CodeBenchmark
    sample: Sample

    def __iter__(self) -> Iterator[StdioCase]:
        key = self.sample.key
        with self.benchmark._own("program", f"problem {key.problem}, sample {key.index}, reading its cases"):
            for case in self.cases:
                check_case(case)
                yield case


class Programs:
    """Has programs judged beside whoever makes them, and writes their verdicts in the thread that owns the run.

    Nobody waits for the judge but `finish`, unless told to. It is a context manager: what still waits is dropped at its end.
    """

    def __init__(
        self,
        benchmark: CodeBenchmark,
        problems: Mapping[str, Problem],
        keys: Mapping[str, str],
        judged: dict[Key, bool],
        *,
        waits: bool = False,
    ) -> None:
        """waits: whoever makes the programs costs nothing, so `submit` waits for room rather than read them again."""
        self._benchmark, self._task, self._problems = benchmark, benchmark.task, problems
        self._keys, self._judged, self._waits = keys, judged, waits
        self._feeder = Feeder(self._task.judge)
        self._behind: deque[Key] = deque()
        self._under_way = 0
        self._ended: SimpleQueue[_Judged] = SimpleQueue()
        self._references: dict[str, Future[Outcome] | None] = {}

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        self._feeder.close()

    def submit(self, sample: Sample) -> None:
        """Has a sample's program judged, which is on disk, and writes the verdicts of whatever has ended meanwhile."""
        if not sample.code:
            why = sample.extra.get("rule", "")
            detail = f"the completion holds no program ({why})" if why else "the completion holds no program"
            self._write(sample, Outcome(status="no-code", detail=detail))
        elif self._under_way >= AT_HAND and not self._waits:
            self._behind.append((sample.key.problem, sample.key.index))
        else:
            self._begin(sample)
        # Whatever has ended is written at once, in whatever order: what is not on disk is lost to a kill.
        while not self._ended.empty() or self._under_way > AT_HAND:
            self._settle(self._ended.get())

    def finish(self) -> None:
        """Waits for all that was submitted."""
        while self._under_way or self._behind:
            self._settle(self._ended.get())

    def _begin(self, sample: Sample) -> None:
        problem = self._problems[sample.key.problem]
        tests = self._tests(problem, sample)
        if isinstance(tests, CallTests) and not any(test.strip() for test in tests.tests):
            self._write(sample, Outcome(status="infrastructure", detail=NO_TESTS))
            return
        self._under_way += 1
        self._feeder.submit(sample.code or "", tests, partial(self._note, problem, sample))

    def _note(self, problem: Problem, sample: Sample, future: Future[Outcome]) -> None:
        """Called on some thread of the judge's."""
        self._ended.put(_Judged(problem, sample, future))

    def _tests(self, problem: Problem, sample: Sample) -> CallTests | StdioTests:
        with self._benchmark._own("program", f"problem {problem.id}, sample {sample.key.index}"):
            tests = self._benchmark.program(problem, sample.code or "")
            if not isinstance(tests, CallTests | StdioTests):
                raise TypeError(f"it returned {tests!r:.80}, not wmtp.CallTests or wmtp.StdioTests")
        if isinstance(tests, StdioTests) and not isinstance(tests.cases, tuple):
            tests = attrs.evolve(tests, cases=_Cases(tests.cases, self._benchmark, sample))
        return attrs.evolve(tests, all_tests=True) if self._benchmark.all_tests else tests

    def _settle(self, judged: _Judged) -> None:
        """Writes the verdict; where that hangs on how the reference ends, once that is known."""
        problem, outcome = judged.problem, judged.future.result()
        if outcome.status in ("error", "blocked") and outcome.detail:
            if problem.id not in self._references:
                self._references[problem.id] = self._judged_reference(problem)
            reference = self._references[problem.id]
            if reference is not None and not reference.done():
                reference.add_done_callback(lambda _: self._ended.put(judged))
                return
            if reference is not None and _same_end(reference.result(), outcome):
                detail = f"{outcome.detail} ({AS_THE_REFERENCE})"
                outcome = attrs.evolve(outcome, status="infrastructure", detail=detail)
        self._under_way -= 1
        self._write(judged.sample, outcome)
        while self._behind and self._under_way < AT_HAND:
            self._begin(self._task.store.sample(*self._behind.popleft()))

    def _judged_reference(self, problem: Problem) -> Future[Outcome] | None:
        """How the reference solution ends: then an exception that ended a program as well is the tests' own, or of something
        that is missing here, and no program could have helped it. ``None`` where there is none, or programs read and write:
        those share no names with their tests, and their exceptions are their own."""
        code = self._benchmark._reference_program(problem)
        if not code:
            return None
        with self._benchmark._own("program", f"problem {problem.id}, its reference solution"):
            tests = self._benchmark.program(problem, code)
        if not isinstance(tests, CallTests):
            return None
        found: Future[Outcome] = Future()
        self._feeder.submit(code, tests, partial(_hand_on, found))
        return found

    def _write(self, sample: Sample, outcome: Outcome) -> None:
        verdict = Verdict(
            key=sample.key,
            code_sha256=sha256(sample.code or ""),
            outcome=attrs.evolve(
                outcome,
                cpu_seconds=round(outcome.cpu_seconds, 4),
                wall_seconds=round(outcome.wall_seconds, 4),
                peak_mib=round(outcome.peak_mib, 1),
            ),
            judge_key=self._keys[sample.key.problem],
        )
        self._task.store.add_verdict(verdict)
        if outcome.status != "infrastructure":
            self._judged[sample.key.problem, sample.key.index] = outcome.passed
        self._task.judged(sample, verdict)


def _same_end(one: Outcome, other: Outcome) -> bool:
    return (one.status, one.detail) == (other.status, other.detail)


def _hand_on(to: Future[Any], done: Future[Any]) -> None:
    error = done.exception()
    to.set_exception(error) if error else to.set_result(done.result())
