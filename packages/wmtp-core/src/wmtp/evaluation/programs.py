"""Programs on their way through the judge, and what becomes of an outcome before it is a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

import attrs

from wmtp.contracts.evaluation import Problem, Sample, Verdict
from wmtp.contracts.judging import CallTests, Outcome, StdioTests
from wmtp.evaluation.asking import sha256

if TYPE_CHECKING:
    from wmtp.evaluation.benchmark import CodeBenchmark

NO_TESTS = "the problem has no tests, so every program would pass"
AS_THE_REFERENCE = "the reference solution ends in the same way, so the tests lack something"
Key = tuple[str, int]


class Programs:
    """Submits programs, and writes their verdicts in the thread that owns the run."""

    def __init__(self, benchmark: CodeBenchmark, keys: Mapping[str, str], judged: dict[Key, bool]) -> None:
        self._benchmark, self._task, self._keys, self._judged = benchmark, benchmark.task, keys, judged
        self._waiting: list[tuple[Problem, Sample, Future[Outcome]]] = []
        self._references: dict[str, Outcome | None] = {}

    def submit(self, problem: Problem, sample: Sample) -> None:
        """Judges a sample's program, and writes the verdicts of whatever has ended meanwhile."""
        if not sample.code:
            why = sample.extra.get("rule", "")
            detail = f"the completion holds no program ({why})" if why else "the completion holds no program"
            self._write(sample, Outcome(status="no-code", detail=detail))
            return
        tests = self._tests(problem, sample)
        if isinstance(tests, CallTests) and not any(test.strip() for test in tests.tests):
            self._write(sample, Outcome(status="infrastructure", detail=NO_TESTS))
            return
        self._waiting.append((problem, sample, self._task.judge.submit(sample.code, tests)))
        # Whatever has ended is written at once, in whatever order: what is not on disk is lost to a kill.
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            if item[2].done():
                self._settle(*item)
            else:
                self._waiting.append(item)

    def finish(self) -> None:
        """Waits for all that was submitted."""
        for item in self._waiting:
            self._settle(*item)
        self._waiting = []

    def _tests(self, problem: Problem, sample: Sample) -> CallTests | StdioTests:
        with self._benchmark._own("program", f"problem {problem.id}, sample {sample.key.index}"):
            tests = self._benchmark.program(problem, sample.code or "")
        return attrs.evolve(tests, all_tests=True) if self._benchmark.all_tests else tests

    def _settle(self, problem: Problem, sample: Sample, future: Future[Outcome]) -> None:
        outcome = future.result()
        if outcome.status in ("error", "blocked") and outcome.detail and self._stops_the_reference(problem, outcome):
            outcome = attrs.evolve(outcome, status="infrastructure", detail=f"{outcome.detail} ({AS_THE_REFERENCE})")
        self._write(sample, outcome)

    def _stops_the_reference(self, problem: Problem, outcome: Outcome) -> bool:
        """Whether the exception that ended a program ends the problem's reference solution as well: then it is the tests' own,
        or of something that is missing here, and no program could have helped it."""
        if problem.id not in self._references:
            self._references[problem.id] = self._judged_reference(problem)
        found = self._references[problem.id]
        return found is not None and (found.status, found.detail) == (outcome.status, outcome.detail)

    def _judged_reference(self, problem: Problem) -> Outcome | None:
        """How the reference solution ends; ``None`` where there is none, or programs read and write: those share no names
        with their tests, and their exceptions are their own."""
        code = self._benchmark._reference_program(problem)
        if not code:
            return None
        with self._benchmark._own("program", f"problem {problem.id}, its reference solution"):
            tests = self._benchmark.program(problem, code)
        return self._task.judge.submit(code, tests).result() if isinstance(tests, CallTests) else None

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
