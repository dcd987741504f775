"""A judge that opens before anybody knows whether it is the one that is wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from wmtp import CallTests
from wmtp.config.config import JudgingConfig
from wmtp.errors import JudgeError
from wmtp.judging import ahead
from wmtp.judging.judge import SandboxJudge

NAMES = ("workers", "time_limit", "memory_mib", "packages")
WANTED: dict[str, Any] = {"level": "process"} | {name: getattr(JudgingConfig(), name) for name in NAMES}
"""What a run asks for whose config.yaml says nothing of judging: other defaults ahead would lose the early judge unseen."""


class Made:
    """Judges that were opened, with what they were asked for, and whether they were closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.judges: list[Any] = []
        self.options: list[Any] = []
        self.closed: list[Any] = []
        self.notes = ("a note",)
        self._error = error

    def __call__(self, **options: Any) -> Any:
        self.options.append(options)
        if self._error:
            raise self._error
        judge: Any = type("Opened", (), {"notes": self.notes, "start_second": lambda _: None})()
        judge.close = lambda: self.closed.append(judge)
        self.judges.append(judge)
        return judge


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made()
    monkeypatch.setattr(ahead, "open_judge", made)
    return made


def test_the_one_that_is_wanted_is_taken_once_and_belongs_to_who_took_it(made: Made) -> None:
    said: list[str] = []
    with ahead.opening("process"):
        first = ahead.opened(**WANTED, private=("/elsewhere",), notify=said.append)
        second = ahead.opened(**WANTED)
    assert made.judges == [first, second]
    assert made.closed == []
    assert said == ["a note"]


@pytest.mark.parametrize("other", [{"level": "strict"}, {"time_limit": 3.0}, {"workers": 1}, {"packages": ("numpy",)}])
def test_another_than_is_wanted_is_closed_at_the_end(made: Made, other: dict[str, Any]) -> None:
    with ahead.opening("process"):
        found = ahead.opened(**{**WANTED, **other})
        assert made.closed == []
    assert made.options[1].items() >= other.items()
    assert made.closed == [judge for judge in made.judges if judge is not found]
    assert len(made.judges) == 2


def test_what_keeps_it_from_opening_is_told_to_who_wants_it_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "open_judge", Made(JudgeError("no walls here")))
    with ahead.opening("strict"), pytest.raises(JudgeError, match="no walls"):
        ahead.opened(**{**WANTED, "level": "strict"})
    with ahead.opening("strict"):
        pass


def test_a_path_that_programs_could_read_is_refused_as_ever(made: Made) -> None:
    with ahead.opening("strict"), pytest.raises(JudgeError, match="programs could read"):
        ahead.opened(**{**WANTED, "level": "strict"}, private=(threading.__file__,))
    assert made.closed == made.judges


def test_the_second_pair_starts_beside_the_first_and_ends_with_the_judge(
    start_judge: Callable[..., SandboxJudge],
) -> None:
    with start_judge("process", workers=2) as judge:
        judge.start_second()
        outcomes = [judge.submit("def f(): return 1", CallTests(tests=("assert f() == 1",))) for _ in range(3)]
        assert all(outcome.result().passed for outcome in outcomes)
    assert judge._started == 2
    assert not judge._pairs
