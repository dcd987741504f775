"""Programs that lie ready at a pair while another runs: each gets its own verdict, whatever becomes of those before it."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from wmtp import CallTests
from wmtp.contracts.judging import Outcome
from wmtp.judging.host.backlog import Backlog
from wmtp.judging.host.pair import Overlong, PairDied
from wmtp.judging.in_turn import AT_PAIR, InTurn, Program
from wmtp.judging.judge import SandboxJudge

TESTS = CallTests(tests=("assert f() == 1",))
Answer = dict[str, Any] | BaseException
PASSED: Answer = {"status": "passed", "tests_passed": 1, "tests": 1, "wall_seconds": 0.001}


class ToldPair:
    """Answers what it is told to: program → answer, with ``stopped`` in it where it was ended from outside."""

    def __init__(self, told: dict[str, Answer], *, large: tuple[str, ...] = (), behind: bool = False) -> None:
        self.told, self.large, self.behind = told, large, behind
        self.stopped, self.jobs = "", 0
        self.has: deque[str] = deque()
        self.most, self.closed = 0, False

    def give(self, job: dict[str, Any]) -> bool:
        if job["code"] == "unsendable":
            raise ValueError("unmarshallable object")
        if job["code"] == "gone":
            raise PairDied("cannot send")
        if self.has and job["code"] in self.large:
            return False
        self.has.append(job["code"])
        self.most = max(self.most, len(self.has))
        self.jobs += 1
        return True

    def answer(self, limits: dict[str, Any]) -> dict[str, Any]:
        found = self.told.get(self.has[0], PASSED)
        if isinstance(found, BaseException):
            raise found
        self.has.popleft()
        found = dict(found)
        self.stopped = found.pop("stopped", "")
        return found


class Turns:
    """`InTurn` over a `ToldPair`, and who was judged alone afterwards."""

    def __init__(self, codes: list[str], told: dict[str, Answer], *, most: int = 1000, **options: Any) -> None:
        self.programs = [Program(code, TESTS) for code in codes]
        self.pair = ToldPair(told, **options)
        self.alone: list[tuple[str, str]] = []
        self.backlog = Backlog[Program](1000, workers=1)
        for program in self.programs:
            self.backlog.put(program)
        first = self.backlog.take(0)
        assert first is not None
        turns = InTurn(self.backlog, lambda program: True, lambda tests: {"cpu": 1}, most)
        self.done = turns.run(first, self.borrowed, self.close, self.settle)  # type: ignore[arg-type]

    @contextmanager
    def borrowed(self) -> Iterator[ToldPair]:
        yield self.pair

    def close(self, pair: ToldPair) -> None:
        pair.closed = True

    def settle(self, program: Program) -> None:
        self.alone.append((program.code, program.died))
        if program.begin():
            program.future.set_result(Outcome(status="passed", detail="alone"))

    def statuses(self) -> dict[str, str]:
        return {p.code: p.future.result(0).status for p in self.programs if p.future.done()}


def test_each_gets_its_own_answer_and_the_pair_has_several() -> None:
    told: dict[str, Answer] = {f"p{n}": {"status": "failed", "wall_seconds": 0.0} for n in range(0, 30, 3)}
    turns = Turns([f"p{n}" for n in range(30)], told)
    assert turns.statuses() == {f"p{n}": "failed" if n % 3 == 0 else "passed" for n in range(30)}
    assert (turns.pair.most, turns.alone) == (AT_PAIR, [])
    assert turns.backlog.taken == turns.done == 1, "told of all but the last"


def test_behind_a_slow_one_none_lies_ready() -> None:
    slow: dict[str, Answer] = {f"p{n}": {"status": "passed", "wall_seconds": 5.0} for n in range(9)}
    turns = Turns([f"p{n}" for n in range(9)], slow)
    assert turns.pair.most == 1
    assert set(turns.statuses().values()) == {"passed"}


def test_of_one_that_dies_with_it_the_pair_is_not_blamed_on_those_that_lay_ready() -> None:
    turns = Turns(["a", "b", "c", "d"], {"b": PairDied("gone")})
    assert turns.alone == [("b", "gone"), ("c", ""), ("d", "")]
    assert turns.statuses() == dict.fromkeys("abcd", "passed")


def test_what_was_answered_counts_though_the_pair_is_gone_by_then() -> None:
    turns = Turns(["a", "gone", "b"], {})
    assert turns.statuses() == {"a": "passed", "gone": "passed"}
    assert turns.alone == [("gone", "cannot send")]
    assert turns.backlog.take(0) is turns.programs[2]


def test_a_comparison_without_end_is_its_own_program_s() -> None:
    turns = Turns(["a", "b", "c"], {"b": Overlong()})
    assert turns.statuses() == {"a": "passed", "b": "timeout", "c": "passed"}
    assert turns.alone == [("c", "")]


def test_behind_one_that_leaves_something_all_are_judged_elsewhere() -> None:
    turns = Turns(["a", "b", "c"], {"b": {"status": "failed", "spent": True, "wall_seconds": 0.0}})
    assert turns.pair.closed
    assert turns.statuses() == {"a": "passed", "b": "failed", "c": "passed"}
    assert turns.alone == [("c", "")]


@pytest.mark.parametrize(
    ("next_one", "judged_again"),
    [
        ({"status": "error", "detail": "killed by SIGKILL"}, True),  # the shot that was meant for the one before
        ({"status": "failed"}, True),
        ({"status": "passed"}, False),  # nothing that was shot passes
        ({"status": "error", "stopped": "wall", "cpu_seconds": 0.0}, False),  # it was looked at for itself
    ],
)
def test_what_runs_behind_one_that_was_ended_from_outside(next_one: dict[str, Any], judged_again: bool) -> None:
    stopped: Answer = {"status": "error", "stopped": "wall", "cpu_seconds": 0.0, "wall_seconds": 0.001}
    turns = Turns(["quick", "late", "next", "last"], {"late": stopped, "next": next_one})
    assert turns.statuses()["late"] == "timeout"
    assert turns.alone == ([("next", "")] if judged_again else [])
    assert turns.statuses()["next"] == ("timeout" if next_one.get("stopped") else "passed")
    assert turns.statuses()["last"] == "passed"


def test_all_that_lay_ready_behind_one_that_was_ended_from_outside_are_in_doubt() -> None:
    """Between the look and the shot a thread may wait long for the interpreter's lock, and quick programs be over."""
    stopped: Answer = {"status": "passed", "stopped": "wall", "cpu_seconds": 0.0, "wall_seconds": 0.001}
    killed: Answer = {"status": "error", "detail": "killed by SIGKILL", "wall_seconds": 0.001}
    behind = [f"behind {number}" for number in range(1, AT_PAIR)]
    later = [f"later {number}" for number in range(AT_PAIR)]
    turns = Turns(["quick", "late", *behind, *later], {"late": stopped, behind[1]: killed, behind[-1]: killed})
    assert turns.alone == [(behind[1], ""), (behind[-1], "")]
    assert set(turns.statuses().values()) == {"passed"}
    turns = Turns(["quick", "late", *behind, *later], {"late": stopped, later[0]: killed})
    assert turns.alone == []
    assert turns.statuses()[later[0]] == "error", "it was given after the shot"


def test_a_pair_that_stays_behind_takes_no_more() -> None:
    turns = Turns(["a", "b", "c"], {}, behind=True)
    assert (turns.pair.jobs, turns.alone) == (1, [])


def test_a_large_one_waits_until_the_pair_has_nothing() -> None:
    turns = Turns(["a", "b", "large", "c"], {}, large=("large",))
    assert (turns.alone, turns.statuses()) == ([], dict.fromkeys(["a", "b", "large", "c"], "passed"))


def test_what_cannot_be_sent_or_is_no_outcome_fails_alone() -> None:
    turns = Turns(["a", "unsendable", "odd", "b"], {"odd": {"status": "no such", "wall_seconds": 0.0}})
    a, unsendable, odd, b = (program.future for program in turns.programs)
    assert (a.result(0).status, b.result(0).status) == ("passed", "passed")
    with pytest.raises(ValueError, match="unmarshallable"):
        unsendable.result(0)
    with pytest.raises(ValueError, match="status"):
        odd.result(0)


def test_an_error_of_ours_is_told_to_whoever_waits_for_what_ran() -> None:
    turns = Turns(["a", "b", "c"], {"b": OSError(5, "input/output error")})
    with pytest.raises(OSError, match="input/output"):
        turns.programs[1].future.result(0)
    assert turns.alone == [("c", "")]


def test_a_pair_that_has_served_enough_takes_no_more() -> None:
    turns = Turns([f"p{n}" for n in range(9)], {}, most=5)
    assert (turns.pair.jobs, len(turns.statuses())) == (5, 5)
    assert turns.backlog.take(0) is turns.programs[5]


def programs(count: int) -> dict[str, str]:
    """Program → how it ends."""
    ends = {"return 1": "passed", "return 2": "failed", "return 1 / 0": "error", "import os; os._exit(3)": "error"}
    return {f"def f():\n    {body}\n# {n}": end for n in range(count) for body, end in ends.items()}


def test_verdicts_are_each_program_s_own(start_judge: Callable[..., SandboxJudge]) -> None:
    expected = programs(60)
    with start_judge("strict", workers=2) as judge:
        judge.keep_ready(True)
        futures = {code: judge.submit(code, TESTS) for code in expected}
        assert {code: future.result().status for code, future in futures.items()} == expected


@pytest.mark.parametrize("level", ["strict", "process"])
def test_pairs_that_are_killed_lose_no_verdict(level: str, start_judge: Callable[..., SandboxJudge]) -> None:
    expected, over = programs(80), threading.Event()
    with start_judge(level, workers=2) as judge:
        judge.keep_ready(True)

        def kill() -> None:
            while not over.wait(0.15):
                with judge._lock:
                    processes = [process for pair in judge._pairs for process in pair._processes]
                if processes:
                    random.choice(processes).kill()

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            futures = {code: judge.submit(code, TESTS) for code in expected}
            found = {code: future.result() for code, future in futures.items()}
        finally:
            over.set()
            thread.join()
    wrong = {code: found[code] for code, end in expected.items() if found[code].status not in (end, "infrastructure")}
    assert not wrong
    assert sum(outcome.status == "infrastructure" for outcome in found.values()) < 10


def test_behind_programs_that_sleep_too_long_right_ones_pass(start_judge: Callable[..., SandboxJudge]) -> None:
    sleeps, right = "import time\ndef f():\n    time.sleep(60)\n", "def f():\n    return 1\n"
    codes = [right, right, right, right, sleeps, right, right, sleeps, right, right]
    with start_judge("strict", workers=1, time_limit=1) as judge:
        judge.keep_ready(True)
        found = [judge.submit(code, TESTS) for code in codes]
        statuses = [future.result().status for future in found]
    assert statuses == ["timeout" if code == sleeps else "passed" for code in codes]


def test_a_program_of_any_size_waits_for_its_turn(start_judge: Callable[..., SandboxJudge]) -> None:
    """And while one that never ends runs, nobody waits for room to send: it is ended in its time."""
    padding = "# " + "x" * 300_000
    codes = [f"def f():\n    return 1\n{padding if n % 3 == 0 else ''}" for n in range(12)]
    codes.insert(6, "def f():\n    while True: pass\n")
    with start_judge("process", workers=1, time_limit=1) as judge:
        judge.keep_ready(True)
        statuses = [future.result(60).status for future in [judge.submit(code, TESTS) for code in codes]]
    assert statuses == ["passed"] * 6 + ["timeout"] + ["passed"] * 6


def test_programs_lie_ready_only_where_that_is_wanted(start_judge: Callable[..., SandboxJudge]) -> None:
    """A process that reads its answers at once gains nothing by it, and a verdict costs more."""
    most: list[int] = []
    with start_judge("process", workers=1) as judge:
        for wanted in (False, True, False):
            judge.keep_ready(wanted)
            (pair,) = judge._pairs
            give, seen = pair.give, [0]

            def counted(job: Any, give: Any = give, seen: list[int] = seen, pair: Any = pair) -> bool:
                taken = bool(give(job))
                seen[0] = max(seen[0], pair.unanswered)
                return taken

            pair.give = counted  # type: ignore[method-assign]
            futures = [judge.submit("def f(): return 1", TESTS) for _ in range(40)]
            assert all(future.result().passed for future in futures)
            most.append(seen[0])
            pair.give = give  # type: ignore[method-assign]
    assert most == [1, AT_PAIR, 1]
