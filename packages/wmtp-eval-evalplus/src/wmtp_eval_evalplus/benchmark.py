"""The evaluators ``humaneval-plus-v1`` and ``mbpp-plus-v1``: EvalPlus' inputs, answered by program and reference alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_evalplus import known_bad, oracle
from wmtp_eval_evalplus.plugin import EvalPlusSettings

INSTRUCTION = "Solve this problem in Python. Answer with the whole program in one code block.\n\n```python\n{}```"
# find_zero is judged by its arguments, so it gets a copy of them: a program may change what it is given.
RIGHT = "near_held(lambda args, out, wanted, atol: {rule}, _args, {entry}(*{fresh}(_args)), _wanted, {atol!r})"
NOT_NONE = "\n\ndef _oracle_not_none(*args):\n    return {entry}(*args) is not None\n"


class EvalPlus(wmtp.CodeBenchmark):
    """What both have in common. The base inputs are the first test and the plus inputs the second."""

    dataset = ""
    judge_settings = ("time_limit", "time_factor")
    settings: EvalPlusSettings

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        base = [name for name in self.task.metrics if name.startswith(self.first_metric)]
        for row in rows:
            if base and row["base_input"] is None:
                raise wmtp.ConfigError(
                    f"{base[0]}: the hub's {self.dataset} does not say which inputs are the base ones. Name the file of "
                    f"EvalPlus' own release in paths.datasets.{self.dataset}_local, or ask for {self.pass_metric}@1 alone"
                )
            yield wmtp.Problem(id=row["task_id"], row=row, reference=row["canonical_solution"], digest=row["digest"])

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        text: str = problem.row["prompt"]
        return [{"role": "user", "content": INSTRUCTION.format(text)}] if self.settings.chat else text

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        continues = self.dataset == "humaneval_plus"
        prompt = problem.row["prompt"] if continues else ""
        return kit.Wanted(names={problem.row["entry_point"]}, prompt=prompt, continues=continues)

    def tests(self, problem: wmtp.Problem) -> wmtp.CallTests:
        row, entry = problem.row, problem.row["entry_point"]
        code, called = row["prompt"] + row["canonical_solution"], entry
        if self.dataset == "mbpp_plus" and entry in oracle.NOT_NONE:
            code, called = code + NOT_NONE.format(entry=entry), "_oracle_not_none"
        rule, fresh = oracle.OWN[self.dataset].get(entry, oracle.SAME), "deepcopy" if entry == "find_zero" else "list"
        right = RIGHT.format(rule=rule, entry=entry, fresh=fresh, atol=row["atol"])
        groups, head = (row["base_input"] or [], row["plus_input"]), kit.near.near_source()
        return kit.reference_tests(code, called, groups, right, self.settings, problem=problem.id, head=head)


class HumanEvalPlus(EvalPlus):
    """HumanEval+: a program is the prompt and the completion."""

    dataset, pass_metric, first_metric = "humaneval_plus", "humaneval_plus_pass", "humaneval_base_pass"
    stop = ("\nclass ", "\ndef ", "\nif ", "\nprint(", "\nassert ", "\n@", "\n```")
    known_bad = known_bad.HUMANEVAL


class MbppPlus(EvalPlus):
    """MBPP+: the prompt is a module's docstring with the asserts in it, and a completion the module."""

    dataset, pass_metric, first_metric = "mbpp_plus", "mbpp_plus_pass", "mbpp_base_pass"
    stop = ("\nif __name__", "\nprint(", "\nassert ", '\n"""', "\n```")
    known_bad = known_bad.MBPP
