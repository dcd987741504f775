"""The evaluators ``humaneval-plus-v1`` and ``mbpp-plus-v1``: EvalPlus' inputs, answered by program and reference alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_evalplus import known_bad, oracle, reference
from wmtp_eval_evalplus.plugin import EvalPlusSettings

INSTRUCTION = "Solve this problem in Python. Answer with the whole program in one code block.\n\n```python\n{}```"
TEST = """\
for _oracle_args, _oracle_wanted in zip({inputs}, {wanted}, strict=True):
    assert _oracle_right({dataset!r}, {entry!r}, _oracle_args, {entry}(*_oracle_fresh(_oracle_args)), _oracle_wanted, {atol!r})
"""
# find_zero is judged by its arguments, so it gets a copy of them: a program may change what it is given.
NAMES = """
from collections import Counter, OrderedDict, deque
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
_oracle_fresh = deepcopy if {copied} else list
"""


class EvalPlus(wmtp.CodeBenchmark):
    """What both have in common. The base inputs are the first test and the plus inputs the second."""

    dataset = ""
    base_metric = ""
    known_bad: Mapping[str, str] = {}
    judge_settings = ("time_limit", "time_factor")
    settings: EvalPlusSettings

    def evaluate(self, task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
        return kit.without_known_bad(super().evaluate(task), self.known_bad)

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        self._tests: dict[str, wmtp.CallTests] = {}
        base = [name for name in self.task.metrics if name.startswith(self.base_metric)]
        for row in rows:
            if base and row["base_input"] is None:
                raise wmtp.ConfigError(
                    f"{base[0]}: the hub's form of {self.dataset} does not say which inputs are the base ones. Take the "
                    f"file of EvalPlus' own release: paths.datasets.{self.dataset}_local: …Plus.jsonl.gz; or leave it out."
                )
            yield wmtp.Problem(id=row["task_id"], row=row, reference=row["canonical_solution"], digest=row["digest"])

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        text: str = problem.row["prompt"]
        return [{"role": "user", "content": INSTRUCTION.format(text)}] if self.settings.chat else text

    def program(self, problem: wmtp.Problem, code: str) -> wmtp.CallTests:
        if problem.id not in self._tests:
            self._tests[problem.id] = self._made(problem.row)
        return self._tests[problem.id]

    def _made(self, row: Mapping[str, Any]) -> wmtp.CallTests:
        found = reference.answers(row, self.dataset)
        base, plus = row["base_input"] or [], row["plus_input"]
        wanted = found["answers"][: len(base)], found["answers"][len(base) :]
        tests = [
            TEST.format(inputs=inputs, wanted=f"[{', '.join(sources)}]", dataset=self.dataset, entry=row["entry_point"],
                        atol=row["atol"])
            for inputs, sources in zip((base, plus), wanted, strict=True) if inputs
        ]  # fmt: skip
        head = Path(oracle.__file__).read_text(encoding="utf-8") + NAMES.format(
            copied=row["entry_point"] == "find_zero"
        )
        tests[0] = head + tests[0]
        limit = max(self.settings.time_limit, math.ceil(self.settings.time_factor * found["seconds"]))
        return wmtp.CallTests(tests=tuple(tests), time_limit=limit)

    def score(
        self, problem: wmtp.Problem, samples: Sequence[wmtp.Sample], verdicts: Sequence[wmtp.Verdict]
    ) -> Mapping[str, float]:
        """pass@k on the base inputs: a program that failed later had passed the first test."""
        n = len(verdicts)
        right = sum(
            v.outcome.passed or (v.outcome.tests_passed > 0 and 1 not in v.outcome.failed_tests) for v in verdicts
        )
        asked = [int(name.rpartition("@")[2]) for name in self.task.metrics if name.startswith(self.base_metric)]
        return {f"{self.base_metric}@{k}": kit.pass_at_k(n, right, k) for k in asked}


class HumanEvalPlus(EvalPlus):
    """HumanEval+: a program is the prompt and the completion."""

    dataset, pass_metric, base_metric = "humaneval_plus", "humaneval_plus_pass", "humaneval_base_pass"
    stop = ("\nclass ", "\ndef ", "\nif ", "\nprint(", "\nassert ", "\n@", "\n```")
    known_bad = known_bad.HUMANEVAL

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        return kit.Wanted(names={problem.row["entry_point"]}, prompt=problem.row["prompt"], continues=True)


class MbppPlus(EvalPlus):
    """MBPP+: the prompt is a module's docstring with the asserts in it, and a completion the module."""

    dataset, pass_metric, base_metric = "mbpp_plus", "mbpp_plus_pass", "mbpp_base_pass"
    stop = ("\nif __name__", "\nprint(", "\nassert ", '\n"""', "\n```")
    known_bad = known_bad.MBPP

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        return kit.Wanted(names={problem.row["entry_point"]})
