"""All tests on request: how many pass is told, and the verdict is the one without."""

from __future__ import annotations

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wmtp.contracts.judging import CallTests, Outcome, StdioCase, StdioTests
from wmtp.judging.judge import SandboxJudge

# What a program does with a number: behaviour → the statement, and whether a test that asks for the number passes.
OF_CALLS = {
    "right": ("return x", True),
    "wrong": ("return x + 1", False),
    "raises": ("raise KeyError(x)", False),
    "asserts": ("assert x < 0, x", False),
    "exits": ("raise SystemExit(0)", False),
    "cannot cross": ("return lambda: x", False),
    "not plain": ("return Odd()", False),
    "no memory": ("return len(bytearray(1 << 40))", False),
    "forbidden": ("return open('/etc/shadow').read()", False),
}
OF_PROGRAMS = {
    "right": ("print(x)", True),
    "wrong": ("print(x + 1)", False),
    "raises": ("raise KeyError(x)", False),
    "exits": ("print(x); raise SystemExit(3)", False),
    "leaves": ("print(x, flush=True); os._exit(0)", True),
    "no memory": ("print(len(bytearray(1 << 40)))", False),
}
DEEP = "def f(x):\n    deep = x\n    for _ in range(100_000 if x == 2 else 0): deep = [deep]\n    return deep"
CLASS = "import os\nclass Odd:\n    def __eq__(self, other): return True\n"
some = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _verdict(outcome: Outcome) -> tuple[str, str]:
    return outcome.status, outcome.detail


@some
@given(names=st.lists(st.sampled_from(sorted(OF_CALLS)), min_size=1, max_size=5))
def test_all_calls_are_counted_and_the_verdict_is_the_one_without(process: SandboxJudge, names: list[str]) -> None:
    body = "".join(f"    if x == {number}: {OF_CALLS[name][0]}\n" for number, name in enumerate(names))
    tests = CallTests(tests=tuple(f"assert f({number}) == {number}" for number in range(len(names))))
    _compare(process, f"{CLASS}def f(x):\n{body}", tests, [OF_CALLS[name][1] for name in names])


@some
@given(names=st.lists(st.sampled_from(sorted(OF_PROGRAMS)), min_size=1, max_size=5))
def test_all_cases_are_counted_and_the_verdict_is_the_one_without(process: SandboxJudge, names: list[str]) -> None:
    body = "".join(f"if x == {number}:\n    {OF_PROGRAMS[name][0]}\n" for number, name in enumerate(names))
    cases = [StdioCase(input=f"{number}\n", expected=f"{number}\n") for number in range(len(names))]
    _compare(
        process, f"import os\nx = int(input())\n{body}", StdioTests(cases=cases), [OF_PROGRAMS[n][1] for n in names]
    )


def _compare(judge: SandboxJudge, code: str, tests: CallTests | StdioTests, right: list[bool]) -> None:
    plain = judge.submit(code, tests).result()
    every = judge.submit(code, attrs.evolve(tests, all_tests=True)).result()
    assert _verdict(every) == _verdict(plain)
    assert plain.passed is all(right)
    assert every.failed_tests == tuple(number for number, good in enumerate(right, 1) if not good)
    assert (every.tests_passed, every.tests) == (sum(right), len(right))
    assert (plain.tests_passed, plain.failed_tests) == ([*right, False].index(False), ())


def test_a_test_that_ends_the_program_leaves_the_others_to_be_run(process: SandboxJudge) -> None:
    code = "import os\ndef f(x):\n    while x == 1: pass\n    if x == 3: os._exit(1)\n    return x\n"
    tests = CallTests(tests=tuple(f"assert f({n}) == {n}" for n in range(5)), time_limit=1, all_tests=True)
    found = process.submit(code, tests).result()
    assert (found.status, found.failed_tests) == ("timeout", (2, 4, 5)), "it is run once more, not as often as it ends"


def test_a_program_that_cannot_begin_passes_nothing_and_is_not_run_again(process: SandboxJudge) -> None:
    calls = CallTests(tests=("assert 1", "assert f(1)"), all_tests=True)
    cases = StdioTests(cases=iter([StdioCase(input="", expected="")] * 3), all_tests=True)
    for code in ("def f(", "1 / 0", "def f(x):\n  return x\nraise SystemExit"):
        found = process.submit(code, calls).result()
        assert (found.tests_passed, found.tests, found.failed_tests) == (0, 2, (1, 2)), (code, found)
    found = process.submit("print(", cases).result()
    assert (found.status, found.tests_passed, found.tests, found.failed_tests) == ("error", 0, 3, (1, 2, 3))


def test_names_that_a_failing_test_has_set_are_there_for_the_next(process: SandboxJudge) -> None:
    tests = ("wanted = 5\nassert f(1) == wanted", "assert f(5) == wanted")
    found = process.submit("def f(x): return x", CallTests(tests=tests, all_tests=True)).result()
    assert (found.tests_passed, found.failed_tests) == (1, (1,))


def test_a_test_that_catches_everything_hides_no_answer_that_cannot_be_compared(process: SandboxJudge) -> None:
    catching = "try:\n    assert f(2) == 2\nexcept BaseException:\n    pass"
    tests = CallTests(tests=("assert f(1) == 2", catching, "assert f(3) == 3"), all_tests=True)
    found = process.submit(DEEP, tests).result()
    assert found.failed_tests == (1, 2), found
