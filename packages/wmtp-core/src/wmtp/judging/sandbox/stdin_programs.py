"""Stdin programs, inside the sandbox: compiled once, then one forked child a case.

The process here never runs the program itself, it only compiles it and looks after the children; it never sees an
expected output. Standard library only.
"""

from __future__ import annotations

import _socket
import atexit
import ctypes
import gc
import io
import os
import select
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from wmtp.judging.sandbox import candidate, first_steps, folders, lockdown, pipes, watchdog
from wmtp.judging.wire import channel, frames

_finalize = ctypes.pythonapi.PyObject_CallFinalizer
_finalize.restype = None
ERROR_TAIL = 2000  # bytes of stderr kept for the detail


def serve(
    sock: _socket.socket,
    limits: Mapping[str, Any],
    deaths: watchdog.Deaths,
    sweep: Callable[[], float],
    pin: Callable[[], None] | None,
) -> None:
    """Compiles the program, then runs a case for each request until the channel closes.

    deaths tells of cases that end; sweep kills whatever a case left running and returns the CPU seconds those processes used;
    pin makes each fork cheaper.
    """
    _, payload = channel.receive(sock, candidate.FRAME_LIMIT)
    try:
        code = candidate.compile_program(payload.decode("utf-8", "surrogatepass"))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        channel.send(sock, frames.RAISED, candidate.describe(error))
        return
    channel.send(sock, frames.READY)
    folder = os.getcwd()
    # Where a script finds modules that it has written; last, so that an import need not look there.
    sys.path.append(folder)
    printed = _open_streams()
    gc.freeze()  # a case's last collection need not go through what is here
    main = [candidate.new_main("__main__")]
    main[0].__dict__["__loader__"] = candidate.Source(payload.decode("utf-8", "surrogatepass"))
    if pin:
        pin()
    cases = _Cases(code, main, limits, deaths, sweep, printed)
    while True:
        _, data = channel.receive(sock, candidate.FRAME_LIMIT)
        answer = cases.run(data)
        folders.empty(folder)
        channel.send(sock, frames.RAN, answer)


def _open_streams() -> tuple[int, int]:
    """The standard streams of all cases, made once → where what they print is read, out and err. A case's child finds its own
    file as descriptor 0.

    They are made over what a case has there, a file and two pipes, since streams remember what they can do.
    """
    (out, out_end), (err, err_end) = pipes.make("."), pipes.make(".")
    for number, descriptor in enumerate((_new_file(".stdin", b""), out_end, err_end)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.unlink(".stdin")
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )
    named: list[tuple[Any, str, str]] = [
        (sys.stdin, "<stdin>", "r"), (sys.stdout, "<stdout>", "w"), (sys.stderr, "<stderr>", "w"),
    ]  # fmt: skip
    for stream, name, mode in named:  # as CPython has them
        stream.buffer.raw.name, stream.mode = name, mode
    return out, err


def _new_file(name: str, data: bytes) -> int:
    """Writes a file and opens it to be read. One that is there is used again, unless the program has closed it to us."""
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    try:
        descriptor = os.open(name, flags, 0o600)
    except PermissionError:
        os.unlink(name)
        descriptor = os.open(name, flags, 0o600)
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])
    os.close(descriptor)
    return os.open(name, os.O_RDONLY)


class _Cases:
    """Runs a program once for each case. What cases have in common is made once."""

    def __init__(
        self,
        code: types.CodeType,
        main: list[types.ModuleType],
        limits: Mapping[str, Any],
        deaths: watchdog.Deaths,
        sweep: Callable[[], float],
        printed: tuple[int, int],
    ) -> None:
        """`main` holds the program's module, of which a case's child lets go at the end."""
        self._code, self._main, self._limits = code, main, limits
        self._deaths, self._sweep, self._printed = deaths, sweep, printed
        self._cap = limits["output_mib"] << 20
        self._name = limits["input_file"] or limits["stdin"] or ".stdin"
        self._report = ctypes.create_string_buffer(channel.REPORT.size)
        self._poll = select.poll()
        for descriptor in (deaths.descriptor, *printed):
            self._poll.register(descriptor, select.POLLIN)
        self._steps: dict[int, list[first_steps.Step]] = {}

    def run(self, data: bytes) -> bytes:
        """How one run ended, as `channel.REPORT` has it, the end of what it said on stderr, and what it printed."""
        stdin = _new_file(self._name, data)
        if self._name == ".stdin":
            os.unlink(self._name)  # the program reads it as descriptor 0, and its folder looks empty
        steps = self._steps.get(stdin) or self._steps.setdefault(stdin, self._first_steps(stdin))
        pid = lockdown.fork()
        if pid == 0:
            first_steps.take(steps)
            _run_program(self._code, self._main)  # does not return
        os.close(stdin)
        ended, output, errors = self._drain(pid)
        flooded = len(output) > self._cap
        if not ended:
            os.kill(pid, signal.SIGKILL)
            watchdog.reap(pid, self._report, channel.USAGE_AT)
        beside = self._sweep()
        if beside:
            _empty(self._printed)
        if self._limits["output_file"]:
            try:
                with open(self._limits["output_file"], "rb") as file:
                    output = file.read(self._cap)
            except OSError:
                output = b""
        channel.REST.pack_into(self._report, channel.REST_AT, beside, flooded)
        return self._report.raw + channel.LENGTH.pack(len(errors)) + errors + (b"" if flooded else output)

    def _first_steps(self, stdin: int) -> list[first_steps.Step]:
        steps = [first_steps.copied(stdin, 0), first_steps.blocking(1), first_steps.blocking(2)]
        return [*steps, *first_steps.no_descriptors(), *self._limits["steps"]]

    def _drain(self, pid: int) -> tuple[bool, bytes, bytes]:
        """Reads both pipes while the program runs → (whether it has exited, output, end of stderr).

        Ends when it has exited, and was reaped, not when a stray child lets go of the pipe; or when it has to be stopped.
        """
        until = watchdog.Watchdog(pid, self._limits["cpu"])
        output, errors, ended = bytearray(), b"", False
        # Once it has exited, only what the pipes still hold is read.
        while events := (self._poll.poll(0) if ended else until.wait(self._poll)):
            for descriptor, _ in events:
                if descriptor == self._deaths.descriptor:
                    self._deaths.clear()
                    ended = ended or watchdog.reap(pid, self._report, channel.USAGE_AT, wait=False)
                    continue
                piece = os.read(descriptor, 1 << 16)
                if descriptor == self._printed[0]:
                    output += piece
                else:
                    errors = (errors + piece)[-ERROR_TAIL:]
            if len(output) > self._cap:
                break
        return ended, bytes(output), errors


def _empty(printed: tuple[int, int]) -> None:
    """Readies the pipes for the next case where others have been killed that could still write to them."""
    while any(found := select.select(printed, (), (), 0)):
        for descriptor in found[0]:
            os.read(descriptor, 1 << 20)


def _run_program(code: types.CodeType, main: list[types.ModuleType]) -> None:
    """The child: as ``python3 program < input`` would run it, down to threads, exit handlers and the exit status."""
    status = 0
    try:
        try:
            exec(code, main[0].__dict__)
        finally:
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
    except SystemExit as leaving:
        status = 0 if leaving.code is None else leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # the program's, whatever it is  # noqa: BLE001
        sys.__excepthook__(*sys.exc_info())
        status = 1
    status = status or _flush()
    _forget(main)
    os._exit((status or _flush()) & 0xFF)


def _flush() -> int:
    """The exit status of an interpreter that can write, or cannot, what its streams still hold. One that is closed or gone
    holds nothing."""
    status = 0
    for name in ("stdout", "__stdout__"):
        stream = getattr(sys, name, None)
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException:  # a broken stdout is an error exit, as in Python itself  # noqa: BLE001
            status = 120 if name == "stdout" else status
    return status


def _forget(main: list[types.ModuleType]) -> None:
    """Lets go of the program's objects, as an interpreter does at its end: files that are open still write what they hold, and
    finalizers run, which may use the program's functions, variables and modules.

    First nobody but the program's own functions holds its names, so that all goes at once, finalizers before anything else.
    What other modules hold is finalized where it lies, unless a thread goes on. What somebody else holds yet, a thread say,
    loses its names one by one.
    """
    try:
        source = main[0].__dict__["__loader__"]
        finalizers = "__del__" in source.get_source("")
        held = weakref.ref(source)
        del source
        sys.modules.pop("__main__", None)
        main.clear()
        gc.collect()
        if finalizers and len(sys._current_frames()) == 1:
            _finalize_kept()
        loader = held()
        spaces = (
            [] if loader is None else [d for d in gc.get_referrers(loader) if isinstance(d, dict) and "__loader__" in d]
        )
        for space in spaces:
            for name in [n for n, v in space.items() if not isinstance(v, _LASTING) and not n.startswith("__")]:
                space.pop(name, None)
            gc.collect()
    except BaseException:  # the program's: it has ended, and what it printed stands  # noqa: BLE001
        pass


def _finalize_kept() -> None:
    for value in gc.get_objects():  # made since the zygote was warm
        kind = type(value)
        if kind.__module__ != "__main__" or not hasattr(kind, "__del__"):
            continue
        if not any(value is kept for kept in vars(sys).values()):  # that outlives the streams
            _finalize(ctypes.py_object(value))  # as its end would, which then does not do it again
    _flush()


_LASTING = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
