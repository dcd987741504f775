"""A judge in a process that has many files open: no number that its descriptors get there means anything to its programs."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from wmtp import CallTests, StdioCase, StdioTests
from wmtp.judging import open_judge
from wmtp.judging.judge import SandboxJudge
from wmtp.judging.sandbox import candidate, first_steps

MADE_BEFORE = 4  # descriptors that a pair may make before the one that its zygote gets
SEEN = """
import os

def seen():
    return [number for number in range(2048) if is_open(number)]

def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

"""


@contextmanager
def lowest_free(number: int) -> Iterator[None]:
    with ExitStack() as stack:
        while True:
            descriptor = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            if descriptor > number - 1:
                pytest.skip(f"this process has more than {number} files open already")
            if descriptor == number - 1:
                yield
                return


@pytest.mark.parametrize("level", ["strict", "process"])
@pytest.mark.parametrize("number", range(candidate.CHANNEL - MADE_BEFORE, candidate.CHANNEL + 1))
def test_a_judge_starts_whatever_numbers_it_gets(number: int, level: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(level)  # skips where it cannot hold
    with lowest_free(number), open_judge(level=level, workers=1) as judge:
        assert judge.submit("def f(): return 1", CallTests(tests=("assert f() == 1",))).result().passed


@pytest.mark.parametrize(("level", "channel"), [("strict", []), ("process", [candidate.CHANNEL])])
@pytest.mark.parametrize("number", [16, first_steps.DESCRIPTORS + 1, 1000])
def test_a_program_has_its_own_descriptors_alone(
    number: int, level: str, channel: list[int], start_judge: Callable[..., SandboxJudge]
) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < number + 20:
        pytest.skip("so many files may not be open here")
    with lowest_free(number), start_judge(level, workers=1) as judge:
        seen = [0, 1, 2, *channel]  # at strict nobody sees the channel's
        outcome = judge.submit(SEEN, CallTests(tests=(f"assert seen() == {seen}",))).result()
        assert outcome.passed, outcome
        cases = (StdioCase(input="", expected="[0, 1, 2]\n"),)
        outcome = judge.submit(f"{SEEN}print(seen())", StdioTests(cases=cases)).result()
        assert outcome.passed, outcome
