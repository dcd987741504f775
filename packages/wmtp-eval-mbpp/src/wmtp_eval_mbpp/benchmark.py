"""The evaluator ``mbpp-v1``: MBPP as its authors prompt and judge it (Austin et al., arXiv 2108.07732)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_mbpp.known_bad import KNOWN_BAD
from wmtp_eval_mbpp.settings import MbppSettings

SHOTS = (2, 3, 4)
TASK = (
    "You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:\n\n{tests}\n"
)


class Mbpp(wmtp.CodeBenchmark):
    """MBPP. Ids are the task ids; a prompt shows the three asserts, as the authors' does."""

    stop = ("[DONE]",)
    pass_metric = "mbpp_pass"
    tests_metric = "mbpp_tests_passed"
    known_bad = KNOWN_BAD
    judge_settings = ("challenge_tests",)
    settings: MbppSettings

    @property
    def split(self) -> str:
        return self.settings.split

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        self._examples: list[Mapping[str, Any]] | None = None
        for row in rows:
            yield wmtp.Problem(id=str(row["task_id"]), row=row, reference=row["code"])

    def _solved_examples(self) -> list[Mapping[str, Any]]:
        """Read for the first prompt and not before: stored samples are judged without any."""
        wanted = SHOTS[: self.settings.shots]
        if not wanted:
            return []
        found = {row["task_id"]: row for row in self.task.rows("prompt") if row["task_id"] in wanted}
        if missing := [i for i in wanted if i not in found]:
            raise wmtp.ConfigError(
                f"mbpp-v1: the prompt's examples, problems {', '.join(map(str, missing))} of split prompt, are not in the data "
                "set; use a complete one, or eval.evaluators.mbpp-v1.shots: 0"
            )
        return [found[i] for i in wanted]

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        return next(self.prompts(problem))

    def prompts(self, problem: wmtp.Problem) -> Iterator[str | list[wmtp.Message]]:
        if self._examples is None:
            self._examples = self._solved_examples()
        for shots in range(len(self._examples), -1, -1):
            yield self._asked(problem, self._examples[:shots])

    def _asked(self, problem: wmtp.Problem, examples: Sequence[Mapping[str, Any]]) -> str | list[wmtp.Message]:
        question = _question(problem.row)
        if self.settings.chat:
            turns: list[wmtp.Message] = []
            for row in examples:
                turns += [
                    {"role": "user", "content": _question(row)},
                    {"role": "assistant", "content": f"```python\n{row['code']}\n```"},
                ]
            return [*turns, {"role": "user", "content": question}]
        solved = [f"{_question(row)}[BEGIN]\n{row['code']}\n[DONE]\n\n" for row in examples]
        return "".join(solved) + f"{question}[BEGIN]\n"

    def form(self) -> kit.PromptForm:
        return kit.chat(self.settings) if self.settings.chat else kit.few_shot(*self.stop)

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        """What the asserts call, between the marks of the few-shot prompt; where that has a builtin's name, what the reference
        defines."""
        names = kit.called_names(problem.row["test_list"]) or kit.defined_names(problem.row["code"])
        return kit.Wanted(names=names, begin="[BEGIN]", end="[DONE]")

    def tests(self, problem: wmtp.Problem) -> wmtp.CallTests:
        row = problem.row
        tests = [*row["test_list"], *(row["challenge_test_list"] if self.settings.challenge_tests else ())]
        return wmtp.CallTests(tests=tuple(tests), setup=row["test_setup_code"], reference=row["code"])

    def score(
        self, problem: wmtp.Problem, samples: Sequence[wmtp.Sample], verdicts: Sequence[wmtp.Verdict]
    ) -> Mapping[str, float]:
        return {"mbpp_exact": float(kit.same_program(samples[0].code or "", problem.row["code"]))}


def evaluate_heads(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    """The evaluator ``mbpp-heads-v1``."""
    return wmtp.HeadMetrics(Mbpp()).evaluate(task)


def examples(row: Mapping[str, Any]) -> list[wmtp.Example]:
    """A row to train on, in the form that is asked without examples."""
    prompt, answer = f"{_question(row)}[BEGIN]\n", f"{row['code'].rstrip()}\n[DONE]"
    return [wmtp.Example(id=str(row["task_id"]), prompt=prompt, answer=answer)]


def _question(row: Mapping[str, Any]) -> str:
    return TASK.format(text=row["text"], tests="\n".join(row["test_list"]))
