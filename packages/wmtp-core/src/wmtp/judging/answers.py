"""What a pair is asked about a program, and what its answer says."""

from __future__ import annotations

from typing import Any

from wmtp.contracts.judging import CallTests, StdioTests
from wmtp.judging.host.pair import FILE_MIB, PROCESSES, Pair


def call_job(code: str, tests: CallTests, limits: dict[str, Any]) -> dict[str, Any]:
    """A program and its calls' tests, as `Pair.give` takes them."""
    return {
        "mode": "call", "code": code, "limits": limits,
        "setup": tests.setup, "tests": tests.tests, "reference": tests.reference,
    }  # fmt: skip


def ask(
    pair: Pair, code: str, tests: CallTests | StdioTests, limits: dict[str, Any], skip: int | None = None
) -> dict[str, Any]:
    """The answer of a pair that has nothing else to do. skip: see `SandboxJudge._answer`."""
    if isinstance(tests, CallTests):
        job = call_job(code, tests, limits)
        return pair.run(job if skip is None else job | {"skip": skip})
    limits |= {"input_file": tests.input_file, "output_file": tests.output_file, "input_bytes": FILE_MIB << 20}
    found = pair.run_cases({"code": code, "limits": limits, "mode": "stdio", "compare": tests.compare}, tests.cases)
    if found.get("status") == "passed" and not found["tests"]:
        return {**found, "status": "infrastructure", "detail": "the problem has no tests, so every program would pass"}
    return found


def told(answer: dict[str, Any], stopped: str, tests: CallTests | StdioTests, limits: dict[str, Any]) -> dict[str, Any]:
    """What becomes of an answer. stopped: why the program was ended from outside, or ``""``."""
    if stopped and answer.get("status") not in (None, "passed", "timeout"):
        answer |= _why_stopped(stopped, answer, limits)
    if isinstance(tests, StdioTests) and answer.get("status") == "passed" and not answer["tests_passed"]:
        return {"status": "infrastructure", "detail": "the problem has no tests"}
    if "broken" in answer:
        return {"status": "infrastructure", "detail": answer["broken"]}
    return answer


def overlong(tests: CallTests | StdioTests) -> dict[str, Any]:
    """Of a program whose answer keeps the checker busy beyond every limit."""
    count = len(tests.tests) if isinstance(tests, CallTests) else 0
    return {"status": "timeout", "detail": "comparing the program's answer takes too long", "tests": count}


def _why_stopped(stopped: str, answer: dict[str, Any], limits: dict[str, Any]) -> dict[str, str]:
    if stopped == "processes":
        return {"status": "error", "detail": f"it ran more than {PROCESSES} processes and threads at once"}
    if stopped == "memory":
        return {"status": "memory", "detail": "its processes held too much memory together"}
    if stopped == "cpu":
        return {"status": "timeout", "detail": f"used up its {limits['cpu']} s of CPU"}
    return {"status": "timeout", "detail": f"stopped by the wall limit after {answer['cpu_seconds']:.1f} s of CPU"}
