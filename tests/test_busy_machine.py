"""Verdicts do not hang on how busy the machine is: three runs beside busy loops on every core, and a quiet one, agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.contracts.judging import CallTests
from wmtp.judging import open_judge


@contextmanager
def busy_loops() -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(len(os.sched_getaffinity(0))):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def mbpp(shared: Path) -> list[tuple[str, Any, bool]]:
    lines = (shared / "data/mbpp/mbpp.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if 11 <= row["task_id"] <= 510]
    return [(r["code"], CallTests(tests=tuple(r["test_list"]), setup=r["test_setup_code"]), True) for r in rows]


def contest(shared: Path) -> list[tuple[str, Any, bool]]:
    from wmtp_eval_codecontests.benchmark import CodeContests
    from wmtp_eval_codecontests.rows import read
    from wmtp_eval_codecontests.schema import Language, solutions
    from wmtp_eval_codecontests.settings import CodeContestsSettings

    benchmark = CodeContests()
    benchmark.settings = CodeContestsSettings()
    path = shared / "data/codecontests"
    request = wmtp.DatasetRequest(dataset="contest", split="test", fetch=lambda _=None: wmtp.Resource(path, "local"))
    return [
        (text, benchmark.program(wmtp.Problem(id=row["name"], row=row), text), right)
        for row in read(request)
        for field, right in (("solutions", True), ("incorrect_solutions", False))
        for language, text in solutions(row, field)
        if language is Language.PYTHON3
    ]


def statuses(programs: list[tuple[str, Any, bool]]) -> list[str]:
    with open_judge(level="auto") as judge:
        return [future.result().status for future in [judge.submit(text, tests) for text, tests, _ in programs]]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("programs_of", [mbpp, contest])
def test_three_runs_beside_busy_loops_agree_with_a_quiet_one(shared: Path, programs_of: Any) -> None:
    programs = programs_of(shared)
    quiet = statuses(programs)
    assert [status == "passed" for status in quiet] == [right for _, _, right in programs]
    with busy_loops():
        for _ in range(3):
            assert statuses(programs) == quiet
