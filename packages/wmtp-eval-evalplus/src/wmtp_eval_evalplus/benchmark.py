"""The evaluators ``humaneval-plus-v1`` and ``mbpp-plus-v1``: EvalPlus' inputs, answered by program and reference alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_evalplus import known_bad, oracle
from wmtp_eval_evalplus.plugin import EvalPlusSettings

INSTRUCTION = "Solve this problem in Python. Answer with the whole program in one code block.\n\n```python\n{}```"
# find_zero is judged by its arguments, so it gets a copy of them: a program may change what it is given.
RIGHT = "_oracle_right(near_same, {dataset!r}, {entry!r}, _args, {entry}(*{fresh}(_args)), _wanted, {atol!r})"
NOT_NONE = "\n\ndef _oracle_not_none(*args):\n    return {entry}(*args) is not None\n"


class EvalPlus(wmtp.CodeBenchmark):
    """What both have in common. The base inputs are the first test and the plus inputs the second."""

    dataset = ""
    base_metric = ""
    continues = False
    judge_settings = ("time_limit", "time_factor")
    settings: EvalPlusSettings

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        self._tests: dict[str, wmtp.CallTests] = {}
        base = [name for name in self.task.metrics if name.startswith(self.base_metric)]
        for row in rows:
            if base and row["base_input"] is None:
                raise wmtp.ConfigError(
                    f"{base[0]}: the hub's form of {self.dataset} does not say which inputs are the base ones. Take the "
                    f"file of EvalPlus' own release: paths.datasets.{self.dataset}_local: …Plus.jsonl.gz; or leave it "
                    f"out: eval.metrics: [{self.pass_metric}@1]"
                )
            yield wmtp.Problem(id=row["task_id"], row=row, reference=row["canonical_solution"], digest=row["digest"])

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        text: str = problem.row["prompt"]
        return [{"role": "user", "content": INSTRUCTION.format(text)}] if self.settings.chat else text

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        prompt = problem.row["prompt"] if self.continues else ""
        return kit.Wanted(names={problem.row["entry_point"]}, prompt=prompt, continues=self.continues)

    def program(self, problem: wmtp.Problem, code: str) -> wmtp.CallTests:
        if problem.id not in self._tests:
            self._tests[problem.id] = self._made(problem.row)
        return self._tests[problem.id]

    def _made(self, row: Mapping[str, Any]) -> wmtp.CallTests:
        entry, base, plus = row["entry_point"], row["base_input"] or [], row["plus_input"]
        code, called = row["prompt"] + row["canonical_solution"], entry
        if self.dataset == "mbpp_plus" and entry in oracle._NOT_NONE:
            code, called = code + NOT_NONE.format(entry=entry), "_oracle_not_none"
        found = kit.reference_answers(code, called, [*base, *plus], problem=row["task_id"])
        fresh = "deepcopy" if entry == "find_zero" else "list"
        right = RIGHT.format(dataset=self.dataset, entry=entry, fresh=fresh, atol=row["atol"])
        head = kit.near.near_source() + Path(oracle.__file__).read_text(encoding="utf-8")
        limit = max(self.settings.time_limit, math.ceil(self.settings.time_factor * found.seconds))
        return wmtp.CallTests(tests=found.tests((base, plus), right, head), time_limit=limit)

    def score(
        self, problem: wmtp.Problem, samples: Sequence[wmtp.Sample], verdicts: Sequence[wmtp.Verdict]
    ) -> Mapping[str, float]:
        """pass@k on the base inputs: a program that failed later had passed the first test."""
        right = sum(
            v.outcome.passed or (v.outcome.tests_passed > 0 and 1 not in v.outcome.failed_tests) for v in verdicts
        )
        asked = [name for name in self.task.metrics if name.startswith(self.base_metric)]
        return {name: kit.pass_at_k(len(verdicts), right, int(name.rpartition("@")[2])) for name in asked}


class HumanEvalPlus(EvalPlus):
    """HumanEval+: a program is the prompt and the completion."""

    dataset, pass_metric, base_metric = "humaneval_plus", "humaneval_plus_pass", "humaneval_base_pass"
    continues = True
    stop = ("\nclass ", "\ndef ", "\nif ", "\nprint(", "\nassert ", "\n@", "\n```")
    known_bad = known_bad.HUMANEVAL


class MbppPlus(EvalPlus):
    """MBPP+: the prompt is a module's docstring with the asserts in it, and a completion the module."""

    dataset, pass_metric, base_metric = "mbpp_plus", "mbpp_plus_pass", "mbpp_base_pass"
    stop = ("\nif __name__", "\nprint(", "\nassert ", '\n"""', "\n```")
    known_bad = known_bad.MBPP
