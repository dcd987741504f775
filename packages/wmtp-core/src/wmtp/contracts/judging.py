"""What is judged, and how it ended. Pure data: the sandbox is elsewhere in this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Literal, Protocol

import attrs

Status = Literal["passed", "failed", "error", "timeout", "memory", "output", "blocked", "no-code", "infrastructure"]
STATUSES: tuple[Status, ...] = (
    "passed", "failed", "error", "timeout", "memory", "output", "blocked", "no-code", "infrastructure",
)  # fmt: skip

Level = Literal["strict", "process", "auto"]


@attrs.frozen(kw_only=True)
class CallTests:
    """Tests that call into the program: it runs first, then `setup`, then each of `tests`, all sharing names.

    tests   Python source, each usually one ``assert``; a script (``def check(candidate): …`` and its call) is fine.
            The checker evaluates everything but the calls into the program's own names; expected values stay with it.
    setup   source that runs after the program and before the tests (MBPP's test_setup_code, test_imports).
    time_limit (CPU seconds, whole program) and memory_mib override the judge's own limits when given.
    """

    tests: tuple[str, ...]
    setup: str = ""
    time_limit: float | None = None
    memory_mib: int | None = None


@attrs.frozen
class StdioCase:
    """One run of a stdin program: what it reads and what it should print. `expected` never enters the sandbox."""

    input: str
    expected: str


@attrs.frozen(kw_only=True)
class StdioTests:
    """Tests that feed stdin and compare stdout. Compiled once, forked per case; the first failure ends the program.

    cases       iterated once, lazily, in the parent.
    compare     ``"tokens"``: split on whitespace, lower-cased, equal counts, numbers within 1e-5; ``"exact"``.
    input_file, output_file   names in the cwd that stand for stdin / stdout where a problem asks for it.
    time_limit  CPU seconds a case; memory_mib a case.
    """

    cases: Iterable[StdioCase]
    compare: Literal["tokens", "exact"] = "tokens"
    input_file: str = ""
    output_file: str = ""
    time_limit: float | None = None
    memory_mib: int | None = None


@attrs.frozen(kw_only=True)
class Outcome:
    """How one program ended. ``passed`` is true for status ``"passed"`` and nothing else.

    detail      one line for people: the exception, the first failing test's number. Never the expected value.
    """

    status: Status
    tests_passed: int = 0
    tests: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_mib: float = 0.0
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


class Judge(Protocol):
    """Runs programs against tests in the sandbox. One judge serves many programs; use it as a context manager."""

    level: Literal["strict", "process"]
    """The level in force: ``auto`` has been settled by the time a judge exists."""

    notes: tuple[str, ...]
    """What people must know about how it judges: ``auto`` fell back, say."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything of the judge that a verdict depends on: part of judge_key."""
        ...

    def submit(self, code: str, tests: CallTests | StdioTests) -> Future[Outcome]:
        """Queues one program; blocks while the queue is full. The future never raises for what a candidate does."""
        ...

    def close(self) -> None: ...
