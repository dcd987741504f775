"""Judges to share, and what a plain interpreter says of the same program."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from wmtp.errors import JudgeError
from wmtp.judging import open_judge
from wmtp.judging.judge import SandboxJudge

PLAIN_SECONDS = 8  # problem 123 alone takes two to five
HELD = 77  # an exit status that no program leaves with by itself


def _open(level: Any, **options: Any) -> SandboxJudge:
    try:
        return open_judge(level=level, **options)
    except JudgeError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def start_judge() -> Callable[..., SandboxJudge]:
    """``start_judge(level, **options)``: a judge of one's own. Skips where the level cannot hold, or fails in CI."""
    return _open


@pytest.fixture(scope="session")
def strict() -> Iterator[SandboxJudge]:
    with _open("strict", workers=1) as judge:
        yield judge


@pytest.fixture(scope="session")
def process() -> Iterator[SandboxJudge]:
    with _open("process", workers=1) as judge:
        yield judge


@pytest.fixture(params=["strict", "process"])
def judge(request: pytest.FixtureRequest) -> SandboxJudge:
    """Each test that asks for it runs at both levels."""
    found: SandboxJudge = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def mbpp(shared: Path) -> list[dict[str, Any]]:
    """All 974 problems of MBPP."""
    with (shared / "data/mbpp/mbpp.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _limits() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PLAIN_SECONDS, PLAIN_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))


@pytest.fixture(scope="session")
def plainly() -> Callable[..., bool]:
    """``plainly(code, tests, setup="")``: do the asserts hold in a fresh interpreter that simply runs everything?"""

    @cache  # both levels are held against the same answer
    def run(code: str, tests: tuple[str, ...], setup: str = "") -> bool:
        script = f"exec(compile({code.removeprefix(chr(0xFEFF))!r}, 'program', 'exec'))\n"
        script += "".join(f"exec(compile({part!r}, 'test', 'exec'))\n" for part in (setup, *tests))
        script += f"import os; os._exit({HELD})"
        # Hash order as in the sandbox, so that a set is no source of differences.
        ended = subprocess.run(
            [sys.executable, "-S", "-s", "-P", "-c", script],
            env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_limits,
            timeout=600,  # on a busy machine too the limit on CPU decides
            check=False,
        )
        return ended.returncode == HELD

    return run
