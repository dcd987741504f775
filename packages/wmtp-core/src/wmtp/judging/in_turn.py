"""Programs that one pair judges in turn, of which the next ones lie ready while one runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import attrs

from wmtp.contracts.judging import CallTests, Outcome, StdioTests
from wmtp.judging import answers
from wmtp.judging.host.backlog import Backlog
from wmtp.judging.host.pair import Overlong, Pair, PairDied

AT_PAIR = 8  # the one that runs, and those that lie ready
REST_SECONDS = 0.005
"""How long nobody reads after a pair got so many: no pair is through them by then, since each takes a fork and more. Whoever
waits for each answer is woken for each, which takes the processor from a program and the interpreter's lock from a thread."""
QUICK_SECONDS = 0.05  # beyond that a program waits better where another pair may take it


@attrs.define(eq=False)
class Program:
    """One that was handed in.

    Attributes:
        code: Its text.
        tests: How it is judged.
        future: What whoever handed it in waits for.
        died: How a pair ended that had it, or ``""``.
    """

    code: str
    tests: CallTests | StdioTests
    future: Future[Outcome] = attrs.field(factory=Future)
    died: str = ""
    _begun: bool = False

    def begin(self) -> bool:
        """Whether anybody still waits for it."""
        self._begun = self._begun or self.future.set_running_or_notify_cancel()
        return self._begun


class InTurn:
    """What a pair was given and has not answered yet, in order.

    A pair that finds its next program goes on at once, whoever has the interpreter's lock of this process meanwhile: without
    that its processor is idle until a thread of ours has got the lock, read the answer and sent the next.
    """

    def __init__(
        self,
        backlog: Backlog[Program],
        may_lie_ready: Callable[[Program], bool],
        limits: Callable[[CallTests | StdioTests], dict[str, Any]],
        most: int,
    ) -> None:
        """Begin with nothing.

        Args:
            backlog: Where programs wait.
            may_lie_ready: Whether one can be given to a pair that has another.
            limits: Of a program with such tests.
            most: Programs that a pair serves in all.
        """
        self._backlog, self._may_lie_ready, self._limits, self._most = backlog, may_lie_ready, limits, most
        self._given: deque[Program] = deque()
        self._held: Program | None = None
        """Too large to lie ready."""
        self._left: list[Program] = []
        self._done = 0
        self._room = 1
        """Programs that the pair may have. What follows a slow one may be as slow, and another pair may be idle by then."""

    def run(
        self,
        first: Program,
        borrowed: Callable[[], AbstractContextManager[Pair]],
        close: Callable[[Pair], None],
        settle: Callable[[Program], None],
    ) -> int:
        """Judge a program, and what waits behind it as long as enough does.

        Args:
            first: The program.
            borrowed: Makes a pair available.
            close: Ends a pair that cannot go on.
            settle: Judges a program alone: one that the pair could not.

        Returns:
            How many are over that the backlog was not told of.
        """
        self._held = first
        try:
            with borrowed() as pair:
                self._judge(pair, close)
        except BaseException as error:  # for whoever waits  # noqa: BLE001
            self._blame(error)
        for program in (*self._left, *self._given, *([self._held] if self._held else [])):
            settle(program)
            self._done += 1
        return self._done

    def _blame(self, error: BaseException) -> None:
        """What went wrong was the doing of the program that ran, if any did."""
        program = self._given[0] if self._given else self._held
        if program is None:
            return
        if isinstance(error, PairDied):
            program.died = str(error)
            return
        if self._given:
            self._given.popleft()
        else:
            self._held = None
        if isinstance(error, Overlong):
            self._settle(program, answers.overlong(program.tests))
        elif program.begin():
            self._fail(program, error)
        else:
            self._done += 1

    def _judge(self, pair: Pair, close: Callable[[Pair], None]) -> None:
        doubtful = 0  # of those the pair has, from the first on: they were there when it was shot at
        self._fill(pair)
        while self._given:
            program = self._given[0]
            limits = self._limits(program.tests)
            answer = pair.answer(limits)
            self._given.popleft()
            stopped, in_doubt, spent = pair.stopped, doubtful > 0, answer.pop("spent", False)
            doubtful = len(self._given) if stopped else max(0, doubtful - 1)
            self._room = AT_PAIR if answer.get("wall_seconds", 1.0) < QUICK_SECONDS else 1
            try:
                if spent:
                    close(pair)  # the next may have begun where this one has left something
                elif not self._left:
                    self._fill(pair)
            finally:  # its answer is there, whatever becomes of the pair
                # Whoever ends a program from outside looks first, and it may be over by then, and the next ones too.
                if in_doubt and answer.get("status") != "passed" and not stopped:
                    self._left.append(program)
                else:
                    self._settle(program, answers.told(answer, stopped, program.tests, limits))
            if spent:
                return

    def _fill(self, pair: Pair) -> None:
        """Has the pair's queue full again once it is half empty, and answers come together from then on."""
        if len(self._given) > self._room // 2:
            return
        self._fill_up(pair)
        if len(self._given) == AT_PAIR:
            time.sleep(REST_SECONDS)

    def _fill_up(self, pair: Pair) -> None:
        while len(self._given) < self._room:
            program, self._held = self._held or self._next(pair), None
            if program is None:
                return
            if not program.begin():
                self._done += 1
                continue
            self._given.append(program)
            try:
                assert isinstance(program.tests, CallTests), "no other may lie ready"
                taken = pair.give(answers.call_job(program.code, program.tests, self._limits(program.tests)))
            except PairDied:
                raise
            except Exception as error:  # it cannot be sent  # noqa: BLE001
                self._fail(self._given.pop(), error)
                continue
            if not taken:
                self._held = self._given.pop()
                return

    def _next(self, pair: Pair) -> Program | None:
        if pair.jobs >= self._most or pair.behind:  # one that could not come forward again is replaced
            return None
        done, self._done = self._done, 0
        return self._backlog.take_ahead(done, self._may_lie_ready)

    def _settle(self, program: Program, answer: dict[str, Any]) -> None:
        answer.pop("begun", None)
        answer.pop("skip", None)
        try:
            outcome = Outcome(**answer)
        except (TypeError, ValueError) as error:
            self._fail(program, error)
            return
        self._done += 1
        program.future.set_result(outcome)

    def _fail(self, program: Program, error: BaseException) -> None:
        self._done += 1
        program.future.set_exception(error)
