"""The judge: programs in, outcomes out. Spreads work over pairs of zygote and checker, and keeps them alive."""

from __future__ import annotations

import logging
import math
import os
import queue
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Literal

import attrs

from wmtp.contracts.judging import CallTests, Level, Outcome, StdioTests
from wmtp.errors import JudgeError
from wmtp.judging import answers, further
from wmtp.judging.host import interpreter_lock, own_limits, watch
from wmtp.judging.host.backlog import Backlog
from wmtp.judging.host.packages import Package, find
from wmtp.judging.host.pair import PROCESSES, Overlong, Pair, PairDied
from wmtp.judging.in_turn import InTurn, Program
from wmtp.judging.sandbox import libraries

JUDGE_VERSION = "5"
"""Part of every judge_key. It rises when a verdict could come out differently."""

RECYCLE_AFTER = 4000  # programs a zygote serves, so that nothing a program might leave behind lives for long
QUEUED = 16  # programs a worker: whoever hands them in may be busy for a while, and no worker waits for it
ATTEMPTS = 3  # on fresh processes, before a program's verdict is `infrastructure`
OUTPUT_MIB = 64
BLIND = (
    "this kernel does not tell how long a process waits for a processor: on a busy machine right programs may be late"
)


_log = logging.getLogger("wmtp.judging")


class SandboxJudge:
    """See `wmtp.contracts.judging.Judge`. Made by `open_judge`."""

    def __init__(
        self,
        level: Literal["strict", "process"],
        workers: int,
        time_limit: float,
        memory_mib: int,
        packages: tuple[Package, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        self.level = level
        self.notes = notes if watch.can_see_waiting() else (*notes, BLIND)
        """What people must know about how it judges."""
        self._packages = packages
        self._time_limit, self._memory_mib = time_limit, memory_mib
        self._started = 0
        self._given_up = False
        self._gives_way = self._keeps_ready = False
        self.layers: dict[str, str] = {}
        """What the self-test at the start found, layer by layer; empty at level process."""
        self._lock = threading.Lock()
        self._backlog: Backlog[Program] = Backlog(workers * QUEUED, workers)
        self._idle: queue.SimpleQueue[Pair | None] = queue.SimpleQueue()
        self._pairs: set[Pair] = set()
        allowed = list(os.sched_getaffinity(0))
        random.shuffle(allowed)  # so that judges of few workers, side by side on one machine, do not all take the first
        self._processors = dict.fromkeys(allowed, 0)
        """Processor → pairs that run on it."""
        self._idle.put(self._self_tested())
        for _ in range(workers - 1):
            self._idle.put(None)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="judge")

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything of the judge that a verdict depends on: part of judge_key."""
        packages = ", ".join(f"{package.name} {package.version}" for package in self._packages)
        return {
            "judge": JUDGE_VERSION,
            "level": self.level,
            "time_limit": f"{self._time_limit:g}",
            "memory_mib": str(self._memory_mib),
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "modules": libraries.modules(),
            **({"packages": packages} if packages else {}),
            **({"stack": stack} if (stack := own_limits.short_stack()) else {}),
        }

    def _self_tested(self) -> Pair:
        """A fresh pair whose walls have been tried, layer by layer. Raises JudgeError naming those that do not hold, or a
        package that a program cannot import."""
        try:
            pair = self._start()
        except PairDied as died:
            raise JudgeError(f"the judge does not start: {died}") from None
        if pair.facts["open to tests"]:
            if self.level == "strict":
                self.close_pair(pair)
                raise JudgeError(f"the checker has no walls: {pair.facts['open to tests']}")
            self.notes = (*self.notes, f"tests of data sets run without walls here: {pair.facts['open to tests']}")
        for package in self._packages:
            program = CallTests(tests=("assert __name__",), setup="")
            answer = answers.ask(pair, f"import {', '.join(package.modules)}", program, self._job_limits(None, None))
            if answer["status"] != "passed":
                self.close_pair(pair)
                raise JudgeError(f"judging.packages: a program cannot import {package.name}: {answer['detail']}")
        if self.level == "strict":
            try:
                self.layers = layers(pair, self._job_limits(None, None))
            except PairDied as died:
                self.close_pair(pair)
                raise JudgeError(f"self-test: {died}") from None
            if any(self.layers.values()):
                self.close_pair(pair)
                raise JudgeError("; ".join(f"{layer}: {seen}" for layer, seen in self.layers.items() if seen))
        return pair

    def _start(self) -> Pair:
        with self._lock:
            self._started += 1
            number = os.getpid() * 64 + self._started
            processor = min(self._processors, key=self._processors.__getitem__)
            self._processors[processor] += 1
        try:
            pair = self._made(number, processor)
        except BaseException:
            with self._lock:
                self._processors[processor] -= 1
            raise
        with self._lock:
            self._pairs.add(pair)
            if self._given_up:
                pair.kill()
            elif self._gives_way:
                pair.fall_behind()
        return pair

    def _made(self, number: int, processor: int) -> Pair:
        """A zygote that ends while it rearranges its memory, on a machine that has little left, starts without doing so."""
        try:
            return Pair(self.level, number, processor, self._packages)
        except PairDied as died:
            _log.warning("the judge starts a plainer zygote: %s", died)
            return Pair(self.level, number, processor, self._packages, plain=True)

    def start_second(self) -> None:
        """Starts a pair now, beside the first, that would start with the first program it judges."""
        if self._idle.qsize() > 1:
            self._threads.submit(self._look_at_two)

    def _look_at_two(self) -> None:
        for _ in range(2):  # the first goes behind the second
            with (
                suppress(JudgeError, PairDied, OSError),
                self._borrowed(),
            ):  # what fails is told where a program needs it
                pass

    def give_way(self, now: bool) -> None:
        """See `wmtp.contracts.judging.GivesWay`. Afterwards a pair that may not come forward is replaced by a fresh one.

        A program that gives way waits for long; where nobody tells for how long, it could not be told from one that is late.
        """
        if not watch.can_see_waiting():
            return
        with self._lock:
            self._gives_way = now
            for pair in self._pairs:
                if now:
                    pair.fall_behind()
                elif pair.behind:
                    pair.come_forward()

    def keep_ready(self, now: bool) -> None:
        """See `wmtp.contracts.judging.KeepsReady`."""
        self._keeps_ready = now

    def close_pair(self, pair: Pair) -> None:
        with self._lock:
            if pair in self._pairs:
                self._pairs.remove(pair)
                self._processors[pair.processor] -= 1
        pair.close()

    def _limits_of(self, tests: CallTests | StdioTests) -> dict[str, Any]:
        return self._job_limits(tests.time_limit, tests.memory_mib)

    def _job_limits(self, time_limit: float | None, memory_mib: int | None) -> dict[str, Any]:
        cpu = math.ceil(time_limit or self._time_limit)
        return {
            "cpu": cpu,
            "wall": (cpu + 1) * 1.5,
            "memory_mib": memory_mib or self._memory_mib,
            "output_mib": OUTPUT_MIB,
        }

    def submit(self, code: str, tests: CallTests | StdioTests) -> Future[Outcome]:
        """Queues one program; blocks while the queue is full. The future never raises for what a candidate does."""
        program = Program(code, tests)
        if (tests.time_limit or tests.memory_mib) and (lack := self._lack(tests)):
            program.future.set_result(Outcome(status="infrastructure", detail=lack))
            return program.future
        if self._backlog.put(program):
            try:
                self._threads.submit(self._work)
            except BaseException:
                self._backlog.take_back(program)
                raise
        return program.future

    def _lack(self, tests: CallTests | StdioTests) -> str:
        """Which limit of this process would be met before those of the tests, or ``""``."""
        limits = self._limits_of(tests)
        return own_limits.lacking(limits["cpu"], limits["memory_mib"])

    def _work(self) -> None:
        """Judges one program after another until none waits: a thread that begins anew for each costs more than it does."""
        done = 0
        while program := self._backlog.take(done):
            done = 1
            if self._may_lie_ready(program):
                turns = InTurn(self._backlog, self._may_lie_ready, self._limits_of, RECYCLE_AFTER)
                done = turns.run(program, self._borrowed, self.close_pair, self._settle)
            else:
                self._settle(program)
            del program  # or the last one would be kept until the next comes

    def _may_lie_ready(self, program: Program) -> bool:
        """Whether it can be given to a pair that has another to judge."""
        wanted = self._keeps_ready and not self._gives_way
        return wanted and isinstance(program.tests, CallTests) and not program.tests.all_tests

    def _settle(self, program: Program) -> None:
        """Judges it with a pair of its own, after what has been tried with it."""
        if not program.begin():
            return
        try:
            program.future.set_result(self._judge(program))
        except BaseException as error:  # for whoever waits, as from any executor  # noqa: BLE001
            program.future.set_exception(error)

    def _judge(self, program: Program) -> Outcome:
        code, tests = program.code, program.tests
        if self._gives_way:
            interpreter_lock.wait_for_a_lull(lambda: self._gives_way and not self._given_up)
        if isinstance(tests, StdioTests) and tests.all_tests:
            tests = attrs.evolve(tests, cases=tuple(tests.cases))
        answer = self._answer(code, tests, died=program.died)
        begun, skip = answer.pop("begun", False), int(answer.pop("skip", 0))
        if tests.all_tests and answer["status"] not in ("passed", "infrastructure"):
            answer |= further.results(self._answer, code, tests, answer, begun=begun, skip=skip)
        return Outcome(**answer)

    def _answer(
        self, code: str, tests: CallTests | StdioTests, skip: int | None = None, died: str = ""
    ) -> dict[str, Any]:
        """How it ends; with `skip`, which of its calls' tests pass, but for the one of that number. died: how a pair ended that
        had it."""
        limits = self._limits_of(tests)
        for _ in range(ATTEMPTS - bool(died)):
            if self._given_up:
                break
            try:
                with self._borrowed() as pair:
                    answer = answers.ask(pair, code, tests, limits, skip)
                    stopped = pair.stopped
                    if answer.pop("spent", False):
                        self.close_pair(pair)
            except Overlong:
                return answers.overlong(tests)
            except PairDied as error:
                died = str(error)
                continue
            return answers.told(answer, stopped, tests, limits)
        return {"status": "infrastructure", "detail": f"the judge's own processes ended {ATTEMPTS} times: {died}"}

    @contextmanager
    def _borrowed(self) -> Iterator[Pair]:
        """A pair that goes back to the idle ones, unless it was closed or what was done with it raised: then its place is
        free for a fresh one."""
        pair = self._idle.get()
        try:
            if pair is not None and (pair.jobs >= RECYCLE_AFTER or (pair.behind and not self._gives_way)):
                self.close_pair(pair)
                pair = None
            pair = pair or self._start()
            yield pair
        except BaseException:  # also the caller's iterator of cases: the checker still waits for one
            if pair is not None:
                self.close_pair(pair)
            raise
        finally:
            self._idle.put(pair if pair in self._pairs else None)

    def close(self) -> None:
        """Waits for what is queued, then ends every process."""
        self._backlog.close(drop=False)
        self._threads.shutdown(wait=True)
        for pair in list(self._pairs):
            self.close_pair(pair)

    def __enter__(self) -> SandboxJudge:
        return self

    def __exit__(self, raised: object, *_: object) -> None:
        for program in self._backlog.close(drop=True):
            program.future.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if raised is not None:  # ctrl-C, say: nobody waits for these verdicts, and a program may run for long yet
            with self._lock:
                self._given_up = True
                for pair in self._pairs:
                    pair.kill()
        self.close()


def layers(pair: Pair, limits: dict[str, Any]) -> dict[str, str]:
    """Each layer of level strict → ``""`` if it holds in this pair, else what was seen. None of them exists at process."""
    limits = limits | {"processes": PROCESSES}
    results: dict[str, str] = pair.run({"mode": "probe", "limits": limits | {"wall": 30.0}})
    shared, interfaces = pair.facts["shared"], pair.facts["interfaces"]
    results["namespaces"] = f"shared with the host: {shared}" if shared else ""
    results["network"] = f"interfaces in sight: {interfaces}" if interfaces not in ("", "lo") else ""
    return results


def checked_private(level: Level, private: Sequence[str | os.PathLike[str]]) -> None:
    """Raises JudgeError for a path that programs could read."""
    for path in private if level != "process" else ():
        if libraries.contains(os.fspath(path)):
            raise JudgeError(f"programs could read {path}, among the interpreter's libraries: move it elsewhere")


def open_judge(
    *,
    level: Level = "strict",
    workers: int | Literal["auto"] = "auto",
    time_limit: float = 10.0,
    memory_mib: int = 1024,
    packages: Sequence[str] = (),
    private: Sequence[str | os.PathLike[str]] = (),
    notify: Callable[[str], None] | None = None,
) -> SandboxJudge:
    """Starts a judge; use it as a context manager.

    Args:
        level: ``strict`` (every layer, self-tested), ``process`` (no namespaces), ``auto`` (strict where it holds).
        workers: Programs judged side by side; ``auto``: one a core.
        time_limit: CPU seconds a program.
        memory_mib: MiB a program, beyond the bare interpreter's.
        packages: Names of installed distributions that programs may import beside the standard library, and what they
            need.
        private: Paths that no program may read (run folder, data): strict refuses to start where one could.
        notify: Called with each loud note, which `notes` also keeps.

    Raises JudgeError naming the layer where ``strict`` cannot hold, or the package that is missing, and what to do.
    """
    if level not in ("strict", "process", "auto"):
        raise JudgeError(f"no such level of judging: {level!r}; there are strict, process and auto")
    count = len(os.sched_getaffinity(0)) if workers == "auto" else workers
    found = find(packages)
    checked_private(level, private)
    notes = own_limits.check(math.ceil(time_limit), memory_mib)
    judge = None
    if level != "process":
        try:
            judge = SandboxJudge("strict", count, time_limit, memory_mib, found, notes)
        except (JudgeError, PairDied) as error:
            if level == "strict":
                raise JudgeError(
                    f"the judge cannot run at level strict here: {error}. `wmtp doctor` shows every layer. To judge with "
                    "less protection, say so: --judge process, or judging.level: process (docs/judging.md says what that "
                    "level does not promise)."
                ) from None
            notes += (f"judging at level process, because strict does not hold here: {error}",)
    judge = judge or SandboxJudge("process", count, time_limit, memory_mib, found, notes)
    if notify:
        for note in judge.notes:
            notify(note)
    return judge
