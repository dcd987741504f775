"""The evaluator ``humaneval-v1``: complete a function from its signature and docstring (Chen et al., arXiv 2107.03374)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import wmtp

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.M | re.S)
INSTRUCTION = "Complete this function. Answer with the whole function in one code block.\n\n```python\n{prompt}```"


class HumanEval(wmtp.CodeBenchmark):
    """HumanEval. A program is the prompt and the completion; ids are those of the data set (``HumanEval/0``)."""

    stop = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\n```")
    pass_metric = "humaneval_pass"

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        for row in rows:
            yield wmtp.Problem(id=row["task_id"], row=row, reference=row["canonical_solution"])

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        text: str = problem.row["prompt"]
        return [{"role": "user", "content": INSTRUCTION.format(prompt=text)}] if self.settings.chat else text

    def code(self, problem: wmtp.Problem, completion: wmtp.Completion) -> str | None:
        """The prompt and what continues it; or the completion alone, where it defines the whole function itself."""
        text = completion.text
        if match := _FENCE.search(text):
            text = match[1]
        if not text.strip():
            return None
        return text if defines(text, problem.row["entry_point"]) else problem.row["prompt"] + text

    def program(self, problem: wmtp.Problem, code: str) -> wmtp.CallTests:
        """`check` and its call as one test. What the prompt defines beside the function is the judge's own there."""
        row = problem.row
        test = f"{helpers(row['prompt'], row['entry_point'])}\n{row['test']}\ncheck({row['entry_point']})\n"
        return wmtp.CallTests(tests=(test,))


def parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def defines(source: str, name: str) -> bool:
    """Whether the source parses and defines the function at its top level."""
    tree = parse(source)
    return tree is not None and any(isinstance(n, ast.FunctionDef) and n.name == name for n in tree.body)


def helpers(prompt: str, entry_point: str) -> str:
    """The prompt without the function to complete: imports and functions that its tests call, too (problems 32, 38, 50)."""
    tree = parse(prompt + "    pass\n")
    if tree is None:
        return ""
    body = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name == entry_point)]
    return ast.unparse(ast.Module(body=body, type_ignores=[]))
