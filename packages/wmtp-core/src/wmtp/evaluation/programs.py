"""Programs on their way through the judge, and what becomes of an outcome before it is a verdict."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import attrs

from wmtp.contracts.evaluation import Problem, Sample, Verdict
from wmtp.contracts.judging import CallTests, KeepsReady, Outcome, StdioCase, StdioTests, check_case
from wmtp.evaluation.asking import sha256
from wmtp.evaluation.feeder import Feeder
from wmtp.evaluation.scheduling import interrupting_nobody

if TYPE_CHECKING:
    from wmtp.evaluation.benchmark import CodeBenchmark

NO_TESTS = "the problem has no tests, so every program would pass"
AS_THE_REFERENCE = "the reference solution ends in the same way, so the tests lack something"
NOT_COMPARED = "cannot be compared"
"""In what the checker says of an answer that is no plain data."""
AT_HAND = 128
"""Programs that wait for the judge in memory. Of those behind them only the keys are kept: they are on disk."""
MOMENT_S = 0.05
"""How long the verdict of a program may wait for others to be written with; a kill in this time loses it."""
TOGETHER = 32  # verdicts that wait for no more
MISTAKEN = 32
"""Answers that were presumed to be programs and were not, stored twice and mostly judged twice: behind so many, all of a run
are parsed first."""
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
        wanted: Mapping[str, int],
        *,
        waits: bool = False,
    ) -> None:
        """Begin with none under way.

        Args:
            benchmark: Whose programs.
            problems: Those that samples are of.
            keys: Problem → the key of its verdicts.
            judged: What passed of what is judged already; it grows.
            wanted: Problem → how many samples it gets.
            waits: Whoever makes the programs costs nothing, so `submit` waits for room rather than read them again.
        """
        self._benchmark, self._task, self._problems = benchmark, benchmark.task, problems
        self._keys, self._judged, self._waits = keys, judged, waits
        self._feeder = Feeder(self._task.judge)
        self._behind: deque[Key] = deque()
        self._under_way = 0
        self._ended: SimpleQueue[_Judged] = SimpleQueue()
        self._enough = threading.Event()
        self._awaited = 1
        self._references: dict[str, Future[Outcome] | None] = {}
        self._through = Counter(problem for problem, _ in judged)
        self._wanted = wanted
        self._mistaken = 0

    def __enter__(self) -> Programs:
        self._replaying = ExitStack()
        if self._waits:
            self._feeder.begin()  # before: it begins the judge's threads, and they start what runs programs
            self._replaying.enter_context(interrupting_nobody())
            judge: object = self._task.judge
            if isinstance(judge, KeepsReady):  # we have the interpreter's lock most of the time
                judge.keep_ready(True)
                self._replaying.callback(judge.keep_ready, False)
        return self

    def __exit__(self, *_: object) -> None:
        self._feeder.close()
        self._replaying.close()

    def submit(self, sample: Sample) -> None:
        """Has a sample's program judged, which is on disk, and writes the verdicts of whatever has ended meanwhile."""
        if sample.code and self._under_way >= AT_HAND and not self._waits:
            self._behind.append((sample.key.problem, sample.key.index))
        else:
            self._begin(sample)
        # Whatever has ended is written soon, in whatever order: what is not on disk is lost to a kill.
        if self._ended.qsize() >= (TOGETHER if self._waits else 1):
            self._settle()
        while self._under_way > AT_HAND:
            self._gather()

    @property
    def may_presume(self) -> bool:
        """Whether an answer that looks like a program is handed in without being parsed: where a model is asked that costs
        nothing beside it."""
        return self._waits and self._mistaken < MISTAKEN

    def is_through(self, problem: str) -> bool:
        """Whether all samples of a problem have a verdict."""
        return self._through[problem] == self._wanted[problem]

    def finish(self) -> None:
        """Waits for all that was submitted."""
        while self._under_way or self._behind:
            self._gather()

    def _gather(self) -> None:
        """Waits for a program to end, and a moment longer for those close behind it: their verdicts are written together, and
        the judge's threads are not held up for each."""
        first = self._ended.get()
        self._enough.clear()
        self._awaited = min(TOGETHER, self._under_way) - 1
        if self._ended.qsize() < self._awaited:
            self._enough.wait(MOMENT_S)
        self._settle(first)

    def _begin(self, sample: Sample) -> None:
        if not sample.code:
            why = sample.extra.get("rule", "")
            detail = f"the completion holds no program ({why})" if why else "the completion holds no program"
            self._write([(sample, Outcome(status="no-code", detail=detail))])
            return
        problem = self._problems[sample.key.problem]
        tests = self._tests(problem, sample)
        if isinstance(tests, CallTests) and not any(test.strip() for test in tests.tests):
            self._write([(sample, Outcome(status="infrastructure", detail=NO_TESTS))])
            return
        self._under_way += 1
        self._feeder.submit(sample.code or "", tests, partial(self._note, problem, sample))

    def _note(self, problem: Problem, sample: Sample, future: Future[Outcome]) -> None:
        """Called on some thread of the judge's."""
        self._ended.put(_Judged(problem, sample, future))
        if self._ended.qsize() >= self._awaited:
            self._enough.set()

    def _tests(self, problem: Problem, sample: Sample) -> CallTests | StdioTests:
        with self._benchmark._own("program", f"problem {problem.id}, sample {sample.key.index}"):
            tests = self._benchmark.program(problem, sample.code or "")
            if not isinstance(tests, CallTests | StdioTests):
                raise TypeError(f"it returned {tests!r:.80}, not wmtp.CallTests or wmtp.StdioTests")
        if isinstance(tests, StdioTests) and not isinstance(tests.cases, tuple):
            tests = attrs.evolve(tests, cases=_Cases(tests.cases, self._benchmark, sample))
        return attrs.evolve(tests, all_tests=True) if self._benchmark.all_tests else tests

    def _settle(self, *first: _Judged) -> None:
        """Writes the verdicts of what has ended, and has as many programs judged that waited behind."""
        settled: list[tuple[Sample, Outcome]] = []
        ended = deque(first)
        try:
            while ended or not self._ended.empty():
                judged = ended.popleft() if ended else self._ended.get()
                if (end := self._end(judged)) is not None:
                    settled.append(end)
        finally:  # what fails on one loses none of those before it
            self._under_way -= len(settled)
            self._write(settled)
        while self._behind and self._under_way < AT_HAND:
            self._begin(self._task.store.sample(*self._behind.popleft()))

    def _end(self, judged: _Judged) -> tuple[Sample, Outcome] | None:
        """How a sample's program ended. ``None`` where that was not its program, which is judged now, or where it hangs on how
        the reference ends, which is not known yet: it ends again."""
        problem, sample, outcome = judged.problem, judged.sample, judged.future.result()
        if self._waits and not outcome.passed and (parsed := self._benchmark._parsed(problem, sample)) is not sample:
            self._task.store.replace_sample(parsed)
            self._mistaken += 1
            if parsed.code != sample.code:
                self._under_way -= 1
                self._begin(parsed)
                return None
            sample = parsed
        if _may_be_the_tests_own(outcome):
            if problem.id not in self._references:
                self._references[problem.id] = self._judged_reference(problem)
            reference = self._references[problem.id]
            if reference is not None and not reference.done():
                again = attrs.evolve(judged, sample=sample)
                reference.add_done_callback(lambda _: self._ended.put(again))
                return None
            if reference is not None and _same_end(reference.result(), outcome):
                detail = f"{outcome.detail} ({AS_THE_REFERENCE})"
                return sample, attrs.evolve(outcome, status="infrastructure", detail=detail)
        return sample, outcome

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

    def _write(self, settled: Sequence[tuple[Sample, Outcome]]) -> None:
        verdicts = [
            Verdict(
                key=sample.key,
                code_sha256=sha256(sample.code or ""),
                outcome=_rounded(outcome),
                judge_key=self._keys[sample.key.problem],
            )
            for sample, outcome in settled
        ]
        self._task.store.add_verdicts(verdicts)
        for (sample, outcome), verdict in zip(settled, verdicts, strict=True):
            if outcome.status != "infrastructure":
                key = (sample.key.problem, sample.key.index)
                self._through[sample.key.problem] += key not in self._judged
                self._judged[key] = outcome.passed
            self._task.judged(sample, verdict)


def _rounded(outcome: Outcome) -> Outcome:
    """As it is stored."""
    cpu, wall, peak = round(outcome.cpu_seconds, 4), round(outcome.wall_seconds, 4), round(outcome.peak_mib, 1)
    if (cpu, wall, peak) == (outcome.cpu_seconds, outcome.wall_seconds, outcome.peak_mib):
        return outcome
    return attrs.evolve(outcome, cpu_seconds=cpu, wall_seconds=wall, peak_mib=peak)


def _may_be_the_tests_own(outcome: Outcome) -> bool:
    """An exception that ended a program, or an answer of a kind that no program's could be compared in."""
    ended = outcome.status in ("error", "blocked") and bool(outcome.detail)
    return ended or (outcome.status == "failed" and NOT_COMPARED in outcome.detail)


def _same_end(one: Outcome, other: Outcome) -> bool:
    return (one.status, one.detail) == (other.status, other.detail)


def _hand_on(to: Future[Any], done: Future[Any]) -> None:
    error = done.exception()
    to.set_exception(error) if error else to.set_result(done.result())
