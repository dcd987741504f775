"""The evaluator ``livecodebench-v1``: problems of a window of time, functions that are called and programs that read."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

import wmtp
from wmtp import kit
from wmtp_eval_livecodebench.plugin import LiveCodeBenchSettings
from wmtp_eval_livecodebench.rows import Question

# Every program may use these without importing them (import_string of lcb_runner/evaluation/testing_util.py); what is imported
# last under a name counts, and a name of Python's own stays Python's own.
STARS = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "typing",
)  # fmt: skip
SAME = "def _same(out, wanted):\n    return (list(out) if isinstance(out, tuple) else out) == wanted\n"


def lent() -> str:
    """Source of the imports that programs may rely on, and the recursion limit that they run under."""
    lines = []
    for name in STARS:
        module = importlib.import_module(name)
        public = getattr(module, "__all__", None) or dir(module)
        lines.append(f"from {name} import {', '.join(each for each in public if not each.startswith('_'))}")
    lines += [f"import {name}" for name in STARS if name != "typing"]
    return "\n".join([*lines, "sys.setrecursionlimit(50000)\n"])


class LiveCodeBench(wmtp.CodeBenchmark):
    """LiveCodeBench. Ids are the data set's ``question_id``."""

    stop = ("\n### Problem",)
    pass_metric = "livecodebench_pass"
    tests_metric = "livecodebench_tests_passed"
    judge_settings = ("time_limit",)
    settings: LiveCodeBenchSettings

    def evaluate(self, task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
        result = super().evaluate(task)
        window = f"{self.settings.start_date or self._days[0]} to {self.settings.end_date or self._days[1]}"
        note = f"window: {window}, {len(self._months)} of {self._seen} problems"
        # Where the score falls behind a model's cutoff, the earlier problems may have been seen.
        report = (
            f"Window: {window}, {len(self._months)} of {self._seen} problems.",
            "",
            *kit.table_by_group(result.values, self._months, "month"),
            "",
        )
        return attrs.evolve(result, notes=(note, *result.notes), report=(*report, *result.report))

    def prompt_form(self) -> Mapping[str, Any]:
        """Without the window: it says which problems are asked, not how."""
        dates = ("setting start_date", "setting end_date")
        return {name: value for name, value in super().prompt_form().items() if name not in dates}

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        self._lent, self._seen = lent(), 0
        self._months: dict[str, str] = {}
        self._days = ("9999", "")
        for row in rows:
            question: Question = row["question"]
            self._seen += 1
            self._days = min(self._days[0], question.day), max(self._days[1], question.day)
            if self.settings.holds(question.day):
                self._months[question.id] = question.day[:7]
                yield wmtp.Problem(id=question.id, row=row, digest=question.digest)

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        question: Question = problem.row["question"]
        begun = question.starter_code if question.function else None
        return kit.competition_prompt(question.text, starter_code=begun, chat=self.settings.chat)

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        return kit.competition_wanted(problem.row["question"].function, self._lent)

    def tests(self, problem: wmtp.Problem) -> wmtp.CallTests | wmtp.StdioTests:
        question: Question = problem.row["question"]
        limit = self.settings.time_limit
        if question.function is None:
            return wmtp.StdioTests(cases=kit.LateCases(question.tests), compare="decimals", time_limit=limit)
        calls = (_call(question, *test) for test in question.tests())
        return kit.competition_calls(question.function, calls, SAME, limit)


def _call(question: Question, given: str, wanted: str) -> tuple[str, str]:
    """Source of the arguments, one a line of JSON, and of the answer."""
    try:
        args, value = json.dumps([json.loads(line) for line in given.split("\n")]), json.dumps(json.loads(wanted))
    except ValueError as error:
        raise wmtp.ConfigError(f"problem {question.id}: a test of {question.function} is no JSON: {error}") from None
    return f"json.loads({args!r})", f"json.loads({value!r})"
