"""The checker: the trusted process that holds the tests, calls into the program and decides.

One lives as long as its zygote. It receives jobs from the parent (a program and its tests), opens a fresh channel to a
fresh child for each, and answers with the outcome as plain JSON. Standard library only, to start fast.
"""

from __future__ import annotations

import json
import marshal
import resource
import signal
import socket
import struct
import sys
import time
import types
from collections.abc import Callable
from typing import Any

from wmtp.judging.checker import blame, compare, exceptions, names, remote, walls
from wmtp.judging.checker.child import Child, Outcome, classify, outcome, read_report, used_up
from wmtp.judging.sandbox import candidate, libraries, lockdown
from wmtp.judging.wire import channel, codec, frames, inherited
from wmtp.judging.wire.limits import CHECKER_BYTES

SMALL_BYTES = 16 << 20  # of answers, beside which a test has all the memory it needs


class TestsBroken(Exception):  # noqa: N818
    """The problem's own tests cannot run: they do not parse, or hand over what cannot cross."""


class Expensive(BaseException):
    """A test ran past the deadline in the checker itself."""


def _detail(error: BaseException) -> str:
    """One line on an exception. Those of the program that have no class here are named in their own text.

    What an exception holds may be the program's, and as large as an answer may be: a text is only made of small parts.
    """
    named = isinstance(error, (exceptions.ProgramExit, exceptions.ProgramError))
    parts = (*error.args, getattr(error, "filename", None))
    text = str(error) if all(map(_is_small, parts)) else "(more than can be shown)"
    return (text if named else f"{type(error).__name__}: {text}")[:300].replace("\n", " ")


def _is_small(value: Any) -> bool:
    if type(value) is int:
        return value.bit_length() < 10_000
    return value is None or type(value) in (bool, float) or (type(value) in (str, bytes) and len(value) < 10_000)


def _calls(parts: names.Split, job: dict[str, Any], child: Child) -> tuple[str, int, str]:
    """Runs a program and its call tests → (status, tests passed, detail). Status ``""``: the child went away.

    The alarm may go off anywhere in here, the handlers included: `_calls_to_the_end` catches it there.
    """
    program = remote.RemoteProgram(child.sock)
    passed = 0
    stage = "the program"
    space: dict[str, Any] = {}
    try:
        space = _namespace(parts, job, program)
        stage = "the setup"
        _execute(parts.setup, space, program)
        for number, test in enumerate(parts.tests, 1):
            stage = f"test {number}"
            _execute(test, space, program)
            if not signal.getitimer(signal.ITIMER_PROF)[0]:  # the alarm went off, and the test caught every exception
                raise Expensive
            passed += 1
    except remote.Gone:
        return "", passed, stage
    except AssertionError as error:
        # An AssertionError of the program's own is not the test's: it came over the channel.
        return (
            ("failed" if stage != "the program" else "error"),
            passed,
            f"{stage}: the assertion is false"
            if not error.args or stage.startswith("test")
            else f"{stage}: {_detail(error)}",
        )
    except remote.Unjudgeable as refused:
        return "failed", passed, f"{stage}: {refused}"
    except remote.Unsplittable as refused:
        raise TestsBroken(f"{stage} needs what cannot cross: {refused}") from None
    except MemoryError:
        return "memory", passed, f"{stage}: out of memory"
    except Expensive:
        return "timeout", passed, f"{stage}: comparing the program's answer took too long"
    except (Exception, exceptions.ProgramExit) as error:  # the program's, under its builtin name  # noqa: BLE001
        if stage != "the program" and _is_tests_own(error, stage, job, parts, space, program):
            raise TestsBroken(f"{stage} fails by itself: {_detail(error)}{_hint(error)}") from None
        return ("blocked" if isinstance(error, PermissionError) else "error"), passed, f"{stage}: {_detail(error)}"
    return "passed", passed, ""


def _is_tests_own(
    error: BaseException,
    stage: str,
    job: dict[str, Any],
    parts: names.Split,
    space: dict[str, Any],
    program: remote.RemoteProgram,
) -> bool:
    """Whether no program could have helped it. One that has answered with much may have left the test no room for its own."""
    if (
        error in program.raised
        or isinstance(error, (exceptions.ProgramExit, exceptions.ProgramError))
        or program.spent > SMALL_BYTES
    ):
        return False
    source = job["setup"] if stage == "the setup" else job["tests"][int(stage.split()[1]) - 1]
    label = "<setup>" if stage == "the setup" else f"<{stage}>"
    if isinstance(error, NameError) and error.name in parts.names:  # nothing but the program could define it
        return error.name not in blame.defined_by(job["reference"], parts.names)
    if blame.builtin_in_place(source, set(blame.defined_by(job["reference"], parts.names)) - set(program.names)):
        return False
    return blame.is_tests_own(error, source, label, parts.names, space, asked=program.asked)


def _hint(error: BaseException) -> str:
    return (
        " (judging.packages gives programs and tests what is installed here)" if isinstance(error, ImportError) else ""
    )


def _calls_to_the_end(parts: names.Split, job: dict[str, Any], child: Child) -> tuple[str, int, str]:
    """`_calls` under the alarm. Whatever goes wrong while an answer is handled or described is the answer's doing, never ours:
    a program may have timed it so that the alarm goes off, or the memory ends, where an exception is being described."""
    try:
        try:
            # Its CPU, not the clock: a busy machine, or a program that takes its time, sets off no alarm. It goes off once.
            signal.setitimer(signal.ITIMER_PROF, job["limits"]["wall"] + 1)
            found = _calls(parts, job, child)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except (TestsBroken, channel.Closed):
        raise
    except Expensive:
        return "timeout", 0, "handling the program's answer took too long"
    except MemoryError:
        return "memory", 0, "handling the program's answer took too much memory"
    except BaseException as error:  # noqa: BLE001
        return "error", 0, f"handling the program's answer failed: {type(error).__name__}"
    return found


def _namespace(parts: names.Split, job: dict[str, Any], program: remote.RemoteProgram) -> dict[str, Any]:
    """Runs the program. Returns the names a test sees: the judge's own, and the program's as remote callables."""
    space: dict[str, Any] = {
        "__name__": "__tests__",
        names.SAME: program.same,
        names.SET: program.set,
        names.KIND: program.kind,
    }
    program.given = [] if parts.asks else None
    for module in parts.modules:
        space[module] = __import__(module)
    program.load(job["code"], parts.imports, parts.names, listen=parts.listens)
    return space | program.names


def _execute(code: types.CodeType, space: dict[str, Any], program: remote.RemoteProgram) -> None:
    """Runs a setup or a test. One that catches every exception does not hide that the program is gone, or answered nonsense."""
    try:
        program.lend(space)
        exec(code, space)
    finally:
        if program.fault:
            raise program.fault


def judge_calls(control: socket.socket, job: dict[str, Any]) -> Outcome:
    try:
        parts = names.split(job["setup"], tuple(job["tests"]))
    except names.Uncrossable as error:
        raise TestsBroken(f"the tests need what cannot cross: {error}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TestsBroken(f"the tests do not parse: {error}") from None
    child = Child(control, job)
    try:
        status, passed, detail = _calls_to_the_end(parts, job, child)
    finally:
        report = child.finish()
    ended = status in ("", "timeout", "memory")
    if not status:
        stage = detail
        status, detail = classify(report, job["limits"])
        detail = f"{stage}: {detail}"
    elif status == "passed" and report["cpu"] >= job["limits"]["cpu"]:  # in processes that it started
        status, detail = "timeout", used_up(job["limits"])
    begun = detail.startswith("test ")  # what was being run stands in front
    return outcome(status, passed, len(job["tests"]), detail, report) | {"begun": begun, "skip": ended and passed + 1}


def judge_each(control: socket.socket, job: dict[str, Any]) -> Outcome:
    """Which of a failed program's tests pass, each run whatever became of those before it: the first failure has decided the
    verdict already. `skip` is the number of a test that ended the program, or 0."""
    passed: list[int] = []
    child = Child(control, job)
    try:
        signal.setitimer(signal.ITIMER_PROF, job["limits"]["wall"] + 1)
        _run_each(names.split(job["setup"], tuple(job["tests"])), job, child, passed)
    except channel.Closed:
        raise
    except BaseException:  # the program's doing, as in `_calls_to_the_end`: what has passed has passed  # noqa: BLE001
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        report = child.finish()
    return {"passed": passed, "spent": report["spent"]}


def _run_each(parts: names.Split, job: dict[str, Any], child: Child, passed: list[int]) -> None:
    program = remote.RemoteProgram(child.sock)
    space = _namespace(parts, job, program)
    _execute(parts.setup, space, program)
    for number, test in enumerate(parts.tests, 1):
        if number == job["skip"]:
            continue
        right = False
        try:
            _execute(test, space, program)
            right = True
        except (Expensive, remote.Gone):
            raise
        except BaseException:  # this test's: others may pass yet  # noqa: BLE001
            program.fault = None
        if not signal.getitimer(signal.ITIMER_PROF)[0]:  # it went off, and was caught by the test
            return
        if right:
            passed.append(number)


def judge_stdio(control: socket.socket, job: dict[str, Any], parent: channel.Stream) -> Outcome:
    """Runs case after case as the parent sends them; the first failure ends the program."""
    child = Child(control, job)
    passed, status, detail, begun = 0, "passed", "", False
    total = {"cpu": 0.0, "wall": 0.0, "peak_mib": 0.0}
    try:
        try:
            channel.send(child.sock, frames.PROGRAM, job["code"].encode("utf-8", "surrogatepass"))
            kind, data = channel.receive(child.sock, candidate.FRAME_LIMIT)
            begun = kind == frames.READY
            if not begun:
                status, detail = "error", f"the program does not compile{_why(data)}"
            while True:
                parent.send(frames.CASE_RESULT, b"" if status == "passed" else b"x")
                kind, data = parent.receive(channel.JOB_LIMIT)
                if kind == frames.JOB_END:
                    break
                text, expected = marshal.loads(data)
                given = text.encode("utf-8", "surrogatepass")
                if len(given) > job["limits"]["input_bytes"]:
                    raise TestsBroken(
                        f"the input of test {passed + 1} is larger than {job['limits']['input_bytes'] >> 20} MiB"
                    )
                started = time.monotonic()
                channel.send(child.sock, frames.CASE, given)
                _, data = channel.receive(child.sock, candidate.FRAME_LIMIT)
                total["wall"] += time.monotonic() - started
                ended, printed = _how_it_ended(data)
                try:
                    status, why = _case_status(ended, printed, expected, job)
                except MemoryError:  # millions of words
                    status, why = "output", "printed more than can be compared"
                except Exception as error:  # whatever it printed to bring that about  # noqa: BLE001
                    status, why = "error", f"handling the program's output failed: {type(error).__name__}"
                total["cpu"] += ended["cpu"]
                total["peak_mib"] = max(total["peak_mib"], ended["peak_mib"])
                passed += status == "passed"
                detail = why and f"test {passed + 1}: {why}"
        except channel.Closed:
            if status == "passed":
                status, detail = "", ""
    finally:
        report = child.finish()
    if not status:
        status, detail = classify(report, job["limits"])
        _drain_parent(parent)
    return outcome(status, passed, passed + (status != "passed"), detail, report | total) | {"begun": begun}


def _why(description: bytes) -> str:
    """What `candidate.describe` wrote of an exception, if that is what it is."""
    try:
        _, name, text = codec.Decoder().decode(description)
    except (codec.Malformed, TypeError, ValueError):
        return ""
    return f": {name}: {text}"[:300]


def _drain_parent(parent: channel.Stream) -> None:
    """The child went away in the middle of a case: tell the parent, and take its end-of-cases."""
    parent.send(frames.CASE_RESULT, b"x")
    parent.receive(channel.JOB_LIMIT)


def _how_it_ended(data: bytes) -> tuple[dict[str, Any], bytes]:
    """What the keeper says of one run, and what that has printed. It lives where the program does, so it may lie: raises Closed
    for what is no report."""
    try:
        ended = read_report(data)
        (length,) = channel.LENGTH.unpack_from(data, channel.REPORT.size)
    except (struct.error, ValueError, OverflowError):
        raise channel.Closed("malformed report") from None
    if not (0 <= ended["cpu"] < 1e9 and 0 <= ended["peak_mib"] < 1e9):  # nor NaN
        raise channel.Closed("malformed report")
    start = channel.REPORT.size + channel.LENGTH.size
    ended["errors"] = data[start : start + length].decode("utf-8", "replace")
    return ended, data[start + length :]


def _case_status(ended: dict[str, Any], printed: bytes, expected: str, job: dict[str, Any]) -> tuple[str, str]:
    if ended["spent"]:
        return "output", f"printed more than {job['limits']['output_mib']} MiB"
    if ended["exit"]:
        last = ended["errors"].strip().splitlines()[-1:] or [""]
        if ended["exit"] == 1 and last[0].startswith("MemoryError"):
            return "memory", "out of memory"
        if ended["exit"] == 1 and last[0].startswith("PermissionError"):
            return "blocked", last[0][:300]
        status, detail = classify(ended, job["limits"])
        return status, last[0][:300] if ended["exit"] > 0 and last[0] else detail
    if ended["cpu"] >= job["limits"]["cpu"]:
        return "timeout", used_up(job["limits"])
    if compare.same_output(expected, printed.decode("utf-8", "replace"), job["compare"]):
        return "passed", ""
    return "failed", "wrong output"


def probe(control: socket.socket, job: dict[str, Any]) -> dict[str, str]:
    child = Child(control, job)
    _, data = channel.receive(child.sock, candidate.FRAME_LIMIT)
    child.finish()
    result: dict[str, str] = json.loads(data)
    return result | walls.probe()


def _alarm(number: int, frame: object) -> None:
    raise Expensive


def main(parent_descriptor: int, control_descriptor: int) -> None:
    parent = channel.Stream(inherited.end(parent_descriptor))
    control = inherited.end(control_descriptor)
    inherited.forget()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the parent's to handle
    signal.signal(signal.SIGPROF, _alarm)
    # A parent that is killed cannot say so, and a checker deep in C code would not see its socket close. The kernel looks
    # at the thread that started us; the judge's threads live as long as the judge.
    lockdown.die_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (CHECKER_BYTES, CHECKER_BYTES))
    sys.setrecursionlimit(5000)
    sys.set_int_max_str_digits(0)  # data sets are older than that limit
    handlers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "call": lambda job: (judge_each if "skip" in job else judge_calls)(control, job),
        "stdio": lambda job: judge_stdio(control, job, parent),
        "probe": lambda job: probe(control, job),
    }
    _, data = parent.receive(channel.JOB_LIMIT)
    start = json.loads(data)
    walls.lend(start["packages"])
    missing = walls.build(libraries.Libraries(*map(tuple, start["libraries"])), start["packages"])
    parent.send(frames.OUTCOME, json.dumps({"missing": missing}).encode())
    while True:
        try:
            _, data = parent.receive(channel.JOB_LIMIT)
        except channel.Closed:
            return
        job = marshal.loads(data)  # what the parent says is believed
        try:
            answer = handlers[job["mode"]](job)
        except channel.Closed:  # parent or zygote are gone: nothing can be told to anyone
            return
        except TestsBroken as broken:
            answer = {"broken": str(broken)}
        parent.send(frames.OUTCOME, json.dumps(answer).encode())
