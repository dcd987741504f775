"""The evaluator ``codecontests-v1``: competition problems, judged on standard input and output (arXiv 2203.07814)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import wmtp
from wmtp import kit
from wmtp.kit.competition import READS
from wmtp_eval_codecontests.schema import Language, cases, limits, solutions
from wmtp_eval_codecontests.settings import CodeContestsSettings

LEAST_SECONDS, LEAST_MIB = 2.0, 256
INSTRUCTION = READS


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
        return _asked(problem.row, chat=self.settings.chat)

    def wanted(self, problem: wmtp.Problem) -> kit.Wanted:
        """A program that reads and writes."""
        return kit.Wanted()

    def tests(self, problem: wmtp.Problem) -> wmtp.StdioTests:
        row = problem.row
        own_seconds, own_mib = limits(row)
        return wmtp.StdioTests(
            cases=kit.LateCases(partial(_cases, row, self.settings.max_tests)),
            compare="tokens",
            input_file=row["input_file"] or "",
            output_file=row["output_file"] or "",
            time_limit=max(LEAST_SECONDS, (own_seconds or LEAST_SECONDS) * self.settings.time_factor),
            memory_mib=max(LEAST_MIB, own_mib),
        )


def _whole(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """With tests and solutions, read from the file once."""
    return row.whole() if isinstance(row, kit.LateRow) else row


def _cases(row: Mapping[str, Any], most: int | None) -> Iterator[tuple[str, str]]:
    return islice(cases(_whole(row)), most)


def _asked(row: Mapping[str, Any], *, chat: bool) -> str | list[wmtp.Message]:
    places = {"source": row["input_file"] or "standard input", "target": row["output_file"] or "standard output"}
    return kit.competition_prompt(row["description"], chat=chat, last="", **places)


def examples_of(row: Mapping[str, Any]) -> Iterator[wmtp.Example]:
    """A row's Python 3 solutions, to train on."""
    asked: Any = _asked(row, chat=False)
    texts = (text for language, text in solutions(_whole(row)) if language is Language.PYTHON3)
    for number, text in enumerate(texts):
        yield wmtp.Example(id=f"{row['name']}#{number}", prompt=asked, answer=text)
