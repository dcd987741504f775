"""The evaluator ``apps-v1``: APPS' problems, functions that are called and programs that read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

import wmtp
from wmtp import kit
from wmtp_eval_apps.plugin import AppsSettings
from wmtp_eval_apps.rows import Question

# What every program may use without importing it (eval/testing_util.py of hendrycks/apps); numpy only with judging.packages.
LENT = """\
import sys, time, itertools, collections, math, fractions, random, heapq
import numpy as np
from itertools import accumulate, product, permutations, combinations
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
from typing import List, Tuple
from heapq import heapify, heappop, heappush, heappushpop, heapreplace, merge, nlargest, nsmallest
"""
SAME = """\
inf, nan = float("inf"), float("nan")
def _same(out, wanted):
    out = list(out) if isinstance(out, tuple) else out
    first = wanted[0] if isinstance(wanted, list) and wanted else wanted
    if isinstance(out, list) and out and isinstance(out[0], tuple):
        return out == wanted or [list(x) if isinstance(x, tuple) else x for x in out] == first
    return out == wanted or out == first
"""


class Apps(wmtp.CodeBenchmark):
    """APPS. Ids are the data set's ``problem_id``."""

    stop = ("\n### Problem",)
    pass_metric = "apps_pass"
    tests_metric = "apps_tests_passed"
    judge_settings = ("time_limit", "skip_untested")
    settings: AppsSettings

    @property
    def split(self) -> str:
        return self.settings.split

    def evaluate(self, task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
        result = super().evaluate(task)
        notes = (f"{self._untested} problems without tests are left out",) if self._untested else ()
        report = (*notes, "", *kit.table_by_group(result.values, self._difficulty, "difficulty"), "", *result.report)
        return attrs.evolve(result, notes=(*notes, *result.notes), report=report)

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        self._untested = 0
        self._difficulty: dict[str, str] = {}
        for row in rows:
            question: Question = row["question"]
            if not question.tests:
                if not self.settings.skip_untested:
                    raise wmtp.ConfigError(
                        f"{row['where']}: problem {question.id} has no tests, so every program would pass. "
                        "eval.evaluators.apps-v1.skip_untested: true leaves such problems out, and says how many"
                    )
                self._untested += 1
                continue
            self._difficulty[question.id] = question.difficulty
            yield wmtp.Problem(id=question.id, row=row, reference=question.solution, digest=question.digest)

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        question: Question = problem.row["question"]
        begun = question.starter_code if question.function else None
        return kit.competition_prompt(question.text, starter_code=begun, chat=self.settings.chat)

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        return kit.competition_wanted(problem.row["question"].function, LENT)

    def tests(self, problem: wmtp.Problem) -> wmtp.CallTests | wmtp.StdioTests:
        question: Question = problem.row["question"]
        limit = self.settings.time_limit
        if question.function is None:
            return wmtp.StdioTests(cases=kit.LateCases(question.pairs), compare="tokens", time_limit=limit)
        calls = ((repr(given), repr(wanted)) for given, wanted in question.pairs())
        return kit.competition_calls(question.function, calls, SAME, limit)
