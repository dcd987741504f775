"""The evaluator ``toy-v1``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import wmtp


# --8<-- [start:benchmark]
class Toy(wmtp.CodeBenchmark):
    stop = ("\n\n\n",)
    pass_metric = "toy_pass"

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        for row in rows:
            yield wmtp.Problem(id=row["id"], row=row, reference=row["code"])

    def prompt(self, problem: wmtp.Problem) -> str:
        please = "Please. " if self.settings.polite else ""
        return f"{please}{problem.row['ask']}\n\n"

    def code(self, problem: wmtp.Problem, completion: wmtp.Completion) -> str | None:
        return completion.text if "def " in completion.text else None

    def program(self, problem: wmtp.Problem, code: str) -> wmtp.CallTests:
        return wmtp.CallTests(tests=tuple(problem.row["tests"]))


# --8<-- [end:benchmark]
