"""The evaluator ``codecontests-v1``: competition problems, judged on standard input and output (arXiv 2203.07814)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_codecontests.rows import LateRow
from wmtp_eval_codecontests.schema import Language, cases, seconds, solutions
from wmtp_eval_codecontests.settings import CodeContestsSettings

LEAST_SECONDS = 2.0
LEAST_MIB = 256
INSTRUCTION = "Write a Python 3 program that solves the problem. Read from {source} and write to {target}."


class CodeContests(wmtp.CodeBenchmark):
    """CodeContests. A problem's id is its name."""

    stop = ("\n### Problem",)
    pass_metric = "contest_pass"
    tests_metric = "contest_tests_passed"
    judge_settings = ("max_tests", "time_factor")
    settings: CodeContestsSettings

    @property
    def split(self) -> str:
        return self.settings.split

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        for row in rows:
            yield wmtp.Problem(id=row["name"], row=row, digest=row["digest"])

    def reference(self, problem: wmtp.Problem) -> str | None:
        """The first Python 3 solution."""
        return next((text for language, text in solutions(problem.row) if language is Language.PYTHON3), None)

    def prompt(self, problem: wmtp.Problem) -> str | list[wmtp.Message]:
        row = problem.row
        if self.settings.chat:
            return [{"role": "user", "content": f"{row['description']}\n\n{_instruction(row)}"}]
        return _question(row)

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        """A program that reads and writes."""
        return kit.Wanted()

    def program(self, problem: wmtp.Problem, code: str) -> wmtp.StdioTests:
        row = problem.row
        limit = max(LEAST_SECONDS, (seconds(row) or LEAST_SECONDS) * self.settings.time_factor)
        memory = max(LEAST_MIB, math.ceil((row["memory_limit_bytes"] or 0) / 2**20))
        return wmtp.StdioTests(
            cases=kit.LateCases(partial(_cases, row, self.settings.max_tests)),
            compare="tokens",
            input_file=row["input_file"] or "",
            output_file=row["output_file"] or "",
            time_limit=limit,
            memory_mib=memory,
        )


def _cases(row: Mapping[str, Any], most: int | None) -> Iterator[tuple[str, str]]:
    return islice(cases(row.whole() if isinstance(row, LateRow) else row), most)


def _instruction(row: Mapping[str, Any]) -> str:
    source, target = row["input_file"] or "standard input", row["output_file"] or "standard output"
    return INSTRUCTION.format(source=source, target=target)


def _question(row: Mapping[str, Any]) -> str:
    return f"### Problem\n{row['description']}\n\n{_instruction(row)}\n\n### Python 3 solution\n"


def examples_of(row: Mapping[str, Any]) -> Iterator[wmtp.Example]:
    """A row's Python 3 solutions, to train on."""
    whole = row.whole() if isinstance(row, LateRow) else row  # its solutions are read from the file once
    texts = (text for language, text in solutions(whole) if language is Language.PYTHON3)
    for number, text in enumerate(texts):
        yield wmtp.Example(id=f"{row['name']}#{number}", prompt=_question(row), answer=text)
