"""What is judged, and how it ended. Pure data: the sandbox is elsewhere in this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import attrs

from wmtp.contracts.validators import factory, identifier, one_line, optional_attrs_class
from wmtp.contracts.values import any_text, as_tuple, instance_of, number, one_of, text_tuple

Status = Literal["passed", "failed", "error", "timeout", "memory", "output", "blocked", "no-code", "infrastructure"]
Level = Literal["strict", "process", "auto"]


def _some(record: object, field: attrs.Attribute[tuple[str, ...]], tests: tuple[str, ...]) -> None:
    if not tests:
        raise ValueError("CallTests.tests is empty: a program would pass whatever it does")


def _held(cases: Iterable[StdioCase]) -> Iterable[StdioCase]:
    return tuple(cases) if isinstance(cases, list) else cases


def _cases(record: object, field: attrs.Attribute[Any], cases: object) -> None:
    """Cases that are there are looked at; those that come late are looked at when they are read."""
    if not isinstance(cases, Iterable) or isinstance(cases, str | bytes | Mapping):
        raise TypeError(f"StdioTests.cases must be a tuple of wmtp.StdioCase, not {cases!r}")
    for case in cases if isinstance(cases, tuple) else ():
        check_case(case)


def check_case(case: object) -> None:
    """Raise TypeError for what is no case."""
    if not isinstance(case, StdioCase):
        raise TypeError(f"StdioTests.cases holds {case!r}; write wmtp.StdioCase(input=…, expected=…)")


def _numbers(record: object, field: attrs.Attribute[tuple[int, ...]], found: tuple[int, ...]) -> None:
    if found == ():
        return  # as nearly always
    if any(type(number) is not int or number < 1 for number in found) or list(found) != sorted(set(found)):
        raise ValueError(f"{field.name} must be numbers of tests in order, from 1, not {found!r}")


def _plain_name(record: object, field: attrs.Attribute[str], name: str) -> None:
    if "/" in name or "\0" in name or name in (".", ".."):
        raise ValueError(f"StdioTests.{field.name} must be a plain file name, not {name!r}")


@attrs.frozen(kw_only=True)
class CallTests:
    """Tests that call into the program: it runs first, then `setup`, then each of `tests`, all sharing names.

    Attributes:
        tests: Python source, each usually one ``assert``; a script (``def check(candidate): …`` and its call) is fine. The
            checker evaluates everything but the calls into the program's own names; expected values stay with it.
        setup: Source that runs after the program and before the tests (MBPP's test_setup_code, test_imports).
        time_limit: CPU seconds for the whole program, in place of the judge's own.
        memory_mib: Memory in MiB, in place of the judge's own.
        reference: A program that is known to be right, or "". It does not run: a name that the tests use and that it does not
            define is missing in the tests, and no program is to blame for it. It stays with the checker, as the tests do.
        all_tests: Run the tests behind one that fails as well, to tell how many pass. The verdict is the same: the first
            failure decides it. A failed program is run once more for them, under the same limits, and without the test that
            ended it.
    """

    tests: tuple[str, ...] = attrs.field(converter=as_tuple, validator=[text_tuple, _some])
    setup: str = attrs.field(default="", validator=any_text)
    time_limit: float | None = attrs.field(default=None, validator=number(0, above=True, besides=(None,)))
    memory_mib: int | None = attrs.field(default=None, validator=number(1, whole=True, besides=(None,)))
    reference: str = attrs.field(default="", validator=any_text)
    all_tests: bool = attrs.field(default=False, validator=instance_of(bool))


@attrs.frozen(kw_only=True)
class StdioCase:
    """One run of a stdin program: what it reads and what it should print. `expected` never enters the sandbox."""

    input: str = attrs.field(validator=any_text)
    expected: str = attrs.field(validator=any_text)


@attrs.frozen(kw_only=True)
class StdioTests:
    """Tests that feed stdin and compare stdout. Compiled once, forked per case; the first failure decides, and ends it.

    Attributes:
        cases: Iterated once, lazily, in the parent.
        compare: ``"lines"``: the same text, but for white space at the ends of lines and at its own end; ``"exact"``: the same
            text; ``"decimals"``: lines but for white space at both ends, and a line of numbers alone by their exact values
            (``1.0`` is ``1``); ``"tokens"``: the same words whatever their case, whole numbers equal, others within 1e-5 or,
            where they are large, within 1e-9 of the expected one (docs/decisions/0040).
        input_file: A plain name in the working directory that stands for stdin, where a problem asks for it.
        output_file: The same for stdout.
        time_limit: CPU seconds a case, in place of the judge's own.
        memory_mib: Memory a case in MiB, in place of the judge's own.
        all_tests: Run the cases behind one that fails as well, to tell how many pass. The verdict is the same. All cases are
            held in memory then.
    """

    cases: Iterable[StdioCase] = attrs.field(converter=_held, validator=_cases)
    compare: Literal["lines", "tokens", "exact", "decimals"] = attrs.field(
        default="lines", validator=one_of("lines", "tokens", "exact", "decimals")
    )
    input_file: str = attrs.field(default="", validator=[any_text, _plain_name])
    output_file: str = attrs.field(default="", validator=[any_text, _plain_name])
    time_limit: float | None = attrs.field(default=None, validator=number(0, above=True, besides=(None,)))
    memory_mib: int | None = attrs.field(default=None, validator=number(1, whole=True, besides=(None,)))
    all_tests: bool = attrs.field(default=False, validator=instance_of(bool))


@attrs.frozen(kw_only=True)
class Outcome:
    """How one program ended. ``passed`` is true for status ``"passed"`` and nothing else.

    Attributes:
        status: How it ended.
        tests_passed: How many tests passed before the first that failed; of all tests, where all were asked for
            (``all_tests``).
        tests: How many tests there were. Of a program that reads and was ended by a failure: how many were run.
        failed_tests: Numbers of the tests that did not pass, from 1, where all were asked for; else empty.
        cpu_seconds: CPU time of the program.
        wall_seconds: Wall time of the program.
        peak_mib: The most memory it held, in MiB.
        detail: One line for people: the exception, the first failing test's number. Never the expected value.
    """

    status: Status = attrs.field(validator=one_of(*get_args(Status)))
    tests_passed: int = attrs.field(default=0, validator=number(0, whole=True))
    tests: int = attrs.field(default=0, validator=number(0, whole=True))
    cpu_seconds: float = attrs.field(default=0.0, validator=number(0))
    wall_seconds: float = attrs.field(default=0.0, validator=number(0))
    peak_mib: float = attrs.field(default=0.0, validator=number(0))
    detail: str = attrs.field(default="", validator=any_text)
    failed_tests: tuple[int, ...] = attrs.field(default=(), converter=as_tuple, validator=_numbers)

    @property
    def passed(self) -> bool:
        return self.status == "passed"


class Judge(Protocol):
    """Runs programs against tests in the sandbox. One judge serves many programs; use it as a context manager."""

    @property
    def level(self) -> Literal["strict", "process"]:
        """The level in force: ``auto`` has been settled by the time a judge exists."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What people must know about how it judges: ``auto`` fell back, say."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything of the judge that a verdict depends on: part of judge_key."""
        ...

    def submit(self, code: str, tests: CallTests | StdioTests) -> Future[Outcome]:
        """Queues one program; blocks while the queue is full. The future never raises for what a candidate does."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class GivesWay(Protocol):
    """What a `Judge` may offer: to judge with what others leave of the machine."""

    def give_way(self, now: bool) -> None:
        """Say whether somebody is at work now whom judging should not slow down. Verdicts are the same either way."""
        ...


@runtime_checkable
class KeepsReady(Protocol):
    """What a `Judge` may offer: not to depend on how soon a busy process reads its answers."""

    def keep_ready(self, now: bool) -> None:
        """Say whether this process has much else to do now, so that programs had better lie ready where they are judged.
        Verdicts are the same either way; one may cost a little more."""
        ...


@attrs.frozen(kw_only=True)
class JudgeRequest:
    """What a `JudgeSpec.open` receives: the section ``judging`` of config.yaml, and what goes with the run.

    Attributes:
        level: ``strict``, ``process`` or ``auto``.
        workers: Programs side by side on one machine; ``auto`` is one a core.
        time_limit: CPU seconds a program.
        memory_mib: MiB a program.
        packages: Installed distributions that programs may import.
        private: Paths that no program may read.
        notify: Is called with each thing that people must know.
        settings: An instance of `JudgeSpec.settings`, from ``judging.where``.
    """

    level: Level = "strict"
    workers: int | Literal["auto"] = "auto"
    time_limit: float = 10.0
    memory_mib: int = 1024
    packages: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    notify: Callable[[str], None] | None = attrs.field(default=None, eq=False, repr=False)
    settings: Any = None


@attrs.frozen(kw_only=True)
class JudgeSpec:
    """A place where programs are judged: ``judging.where`` of config.yaml.

    Attributes:
        open: request → `Judge`. It raises `wmtp.JudgeError` where the sandbox does not hold.
        settings: attrs class of its options, which stand beside its name in ``judging.where``, or ``None`` if it takes none.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    open: Callable[[JudgeRequest], Judge] = attrs.field(validator=factory)
    settings: type[Any] | None = attrs.field(default=None, validator=optional_attrs_class)
