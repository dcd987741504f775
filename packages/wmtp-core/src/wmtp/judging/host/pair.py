"""A zygote and its checker: the two processes that judge one program after another, as the parent sees them."""

from __future__ import annotations

import _socket
import contextlib
import fcntl
import json
import marshal
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from wmtp.contracts.judging import StdioCase
from wmtp.errors import JudgeError
from wmtp.judging.host.packages import Package
from wmtp.judging.host.scratch import Scratch
from wmtp.judging.host.watch import PATIENCE_FACTOR, Watch
from wmtp.judging.sandbox import process_tree
from wmtp.judging.sandbox.libraries import Libraries
from wmtp.judging.sandbox.root import Entry, Shared
from wmtp.judging.wire import channel, frames

START_SECONDS = 60.0
DEATH_SECONDS = 5.0  # how long the end of a process may take whose socket has closed
WATCH_SECONDS = 0.05
WATCH_BEHIND_SECONDS = (
    0.25  # where programs have what others leave of a processor, and are slow through no fault of theirs
)
PATIENCE_FACTOR_BEHIND = 1000
"""`PATIENCE_FACTOR` with those."""
# What every program has in common.
TMPFS_MIB = 64
FILE_MIB = 32
PROCESSES = 64
FILES = 200
READY_BYTES = 1 << 14
"""Of a job that may lie ready while another runs: the socket has room for several such. Who waits for room watches nobody."""
_ROOT = Path(__file__).resolve().parents[3]
# The package is found by its own folder, which is on nobody's path: what is installed beside it stays out of reach. Its own
# modules are compiled to wherever ours are, or a start would take half as long again where no installer compiled them. What is
# imported later, by programs too, is written nowhere.
_BOOT = (
    "import sys, types; package = sys.modules['wmtp'] = types.ModuleType('wmtp'); package.__path__ = [sys.argv[1] + '/wmtp']; "
    "sys.pycache_prefix, sys.dont_write_bytecode = {1!r}, {2!r}; from wmtp.judging.{0} import main; "
    "sys.pycache_prefix, sys.dont_write_bytecode = None, True; main(*map(int, sys.argv[2:]))"
)


_TIMEVAL = struct.Struct("@ll")
_FOUND: dict[tuple[Package, ...], Libraries] = {}
"""Packages → what programs may read then: every zygote of this process asks for the same."""
_ROOTS: dict[tuple[Package, ...], Shared] = {}
"""Packages → the root with copies of it, which lasts as long as this process: every zygote at strict mounts the same."""


class PairDied(Exception):  # noqa: N818
    """Zygote or checker are gone or do not answer. A matter of ours: the program is judged again."""


class Overlong(Exception):  # noqa: N818
    """The checker is busy beyond every limit with what a program answered."""


def _interpreter(module: str, processor: int, *descriptors: int, lent: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    """A bare interpreter (no site-packages, nothing of our environment) that runs `main` of a module of this package.

    It finds `descriptors` among its arguments, and those that are `lent` under their numbers.

    It and all that it starts stay on one processor. Zygote, checker and child take turns, so they lose nothing by it, and a
    message that wakes its reader on another processor costs both of them more than what it says.
    """
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["LD_BIND_NOW"] = "1"  # or every child would look up the same symbols again
    # Threads share the C library's first arena. A second one reserves 64 MiB of a program's address space in one process of
    # thirty, by where chance has put it, and 0 in the others: the same program would be out of memory now and then.
    environment["MALLOC_ARENA_MAX"] = "1"
    # numpy, where it is allowed: a thread a core would take all the memory there is.
    environment["OPENBLAS_NUM_THREADS"] = "1"
    if "LD_LIBRARY_PATH" in os.environ:  # some interpreters do not start without it
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    boot = _BOOT.format(module, sys.pycache_prefix, sys.dont_write_bytecode)
    process = subprocess.Popen(
        [sys.executable, "-s", "-S", "-P", "-c", boot, str(_ROOT), *map(str, descriptors)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("WMTP_JUDGE_STDERR") else subprocess.DEVNULL,
        pass_fds=(*descriptors, *lent),
        cwd="/",
        start_new_session=True,
    )
    with contextlib.suppress(OSError):  # gone already, or a processor that is: neither is worth a word here
        os.sched_setaffinity(process.pid, {processor})
    return process


def _packed(payload: Any) -> bytes:
    """For the checker, which runs the same interpreter, and believes this process."""
    try:
        return marshal.dumps(payload)
    except ValueError:  # a subclass, of str say
        return marshal.dumps(json.loads(json.dumps(payload)))


def _answer(data: bytes) -> dict[str, Any]:
    """What the checker says of a program: JSON, since tests of a data set run there too."""
    found: dict[str, Any] = json.loads(data.decode())
    return found


def _ends(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that wait, whatever default others have set for new ones here (the other process has them as they
    are), and whose numbers are none of the standard streams', which it has of its own though they may be free here."""
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    return _settled(one), _settled(other)


def _settled(sock: socket.socket) -> socket.socket:
    found = socket.socket(fileno=_above_streams(sock.detach()))
    found.settimeout(None)
    return found


def _above_streams(descriptor: int) -> int:
    """The same file under a number that is none of the standard streams', in its place."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _limit(sock: _socket.socket, option: int, seconds: float) -> None:
    """How long the socket itself waits to send, or for something to receive."""
    whole = int(seconds)
    sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(whole, round((seconds - whole) * 1e6)))


class Pair:
    """Starts both processes, on one processor; `plain`: without what rearranges a zygote's memory to make programs cheaper.

    Raises `JudgeError` naming the layer where the zygote cannot build its walls.
    """

    def __init__(
        self,
        level: Literal["strict", "process"],
        number: int,
        processor: int,
        packages: tuple[Package, ...] = (),
        *,
        plain: bool = False,
    ) -> None:
        self.jobs = self.unanswered = 0
        self.processor = processor
        self.stopped = ""
        """Why the program just judged was ended from outside, as `Watch.look` says it, or ``""``."""
        self.behind = False
        """Whether it has what others leave of its processor (`fall_behind`)."""
        self._strict = level == "strict"
        self._scratch = Scratch()
        self._packages = [entry for package in packages for entry in package.entries]
        self.libraries: Libraries | None = _FOUND.get(packages)
        self._key = packages
        self._root = _ROOTS.get(packages) if self._strict else None
        self._lent = (self._root.mount,) if self._root else ()
        self._links = None if self._strict or not packages else Scratch()
        if self._links:
            for entry in self._packages:
                os.symlink(entry, os.path.join(self._links.path, os.path.basename(entry)))
        self._processes: list[subprocess.Popen[bytes]] = []
        control, theirs = _ends(socket.SOCK_SEQPACKET)
        ours, checkers = _ends()
        self._parent = channel.Stream(ours)
        try:
            with control, checkers:
                with theirs:
                    self._processes.append(_interpreter("sandbox.zygote", processor, theirs.fileno(), lent=self._lent))
                self._zygote = self._processes[0].pid
                self.facts = self._introduce(control, level, number, plain=plain)
                if self._strict:  # only a place to build the new root on: gone now, so that no kill -9 leaves it behind
                    self._scratch.remove()
                self._processes.append(_interpreter("checker.checker", processor, checkers.fileno(), control.fileno()))
                self._checker = self._processes[1].pid
            self.facts["open to tests"] = self._tell_checker()
            self._watch_after(WATCH_SECONDS)
        except BaseException:
            self.close()
            raise

    def _introduce(self, control: socket.socket, level: str, number: int, *, plain: bool) -> dict[str, str]:
        control.settimeout(START_SECONDS)
        options = {
            "level": level, "scratch": self._scratch.path, "number": number, "packages": self._packages,
            "links": self._links.path if self._links else "", "libraries": self.libraries, "root": self._root, "plain": plain,
            "tmpfs_mib": TMPFS_MIB, "file_mib": FILE_MIB, "processes": PROCESSES if self._strict else None, "files": FILES,
        }  # fmt: skip
        try:
            control.send(json.dumps(options).encode())
            data, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
            if descriptors:
                bound = [Entry(*entry) for entry in json.loads(data)["bound"]]
                mount = _above_streams(descriptors[0])
                if _ROOTS.setdefault(self._key, Shared(mount, bound)).mount != mount:  # another thread was first
                    os.close(mount)
                data = control.recv(65536)
            answer = json.loads(data or b"{}")
        except TimeoutError:
            raise PairDied(f"the zygote does not start within {START_SECONDS:.0f} s") from None
        except OSError:  # it went before it had read what it was told
            answer = {}
        finally:
            control.settimeout(None)
        if "failed" in answer:
            raise JudgeError(answer["failed"])
        if "ready" not in answer:
            raise PairDied(f"the zygote ended while it started: {answer.get('fault') or self._how_it_ended()}")
        self.libraries = _FOUND[self._key] = Libraries(*map(tuple, answer["libraries"]))
        ready: dict[str, str] = answer["ready"]
        return ready

    def _how_it_ended(self) -> str:
        try:
            code = self._processes[0].wait(DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return "it said nothing of it"
        number = -code if code < 0 else code - 128  # it says of a process of its own what a shell would
        name = signal.strsignal(number) if 0 < number < signal.NSIG else None
        return name or f"status {code}"

    def _tell_checker(self) -> str:
        """Which walls the checker lacks, ``""`` if it has them all."""
        self._sending_seconds = START_SECONDS
        self._parent.sock.settimeout(START_SECONDS)
        start = {"libraries": self.libraries, "packages": self._packages}
        try:
            self._parent.send(frames.JOB, json.dumps(start).encode())
            missing: str = json.loads(self._parent.receive(channel.JOB_LIMIT)[1])["missing"]
        except channel.Closed:
            raise PairDied("the checker ended while it started") from None
        finally:
            self._parent.sock.settimeout(None)  # from here on the socket itself waits no longer than it should
        return missing

    def _watch_after(self, seconds: float) -> None:
        """How long an answer may take before what runs is watched."""
        with contextlib.suppress(OSError):  # closed
            _limit(self._parent.sock, socket.SO_RCVTIMEO, seconds)

    def _send(self, kind: int, packed: bytes, limits: Mapping[str, Any]) -> None:
        seconds = self._patience * limits["wall"]
        if seconds != self._sending_seconds:
            self._sending_seconds = seconds
            _limit(self._parent.sock, socket.SO_SNDTIMEO, seconds)
        try:
            self._parent.send(kind, packed)
        except channel.Closed as closed:
            raise PairDied(str(closed)) from None

    def _receive(self, limits: Mapping[str, Any]) -> tuple[int, bytes]:
        """One call of the system, as nearly always: this thread has the interpreter's lock to get back after every one."""
        while True:
            try:
                return self._parent.receive(channel.JOB_LIMIT)
            except BlockingIOError:
                self._await(limits)
            except channel.Closed as closed:
                raise PairDied(str(closed)) from None

    def _ask(self, kind: int, payload: Any, limits: Mapping[str, Any]) -> tuple[int, bytes]:
        self._send(kind, _packed(payload), limits)
        return self._receive(limits)

    def _await(self, limits: Mapping[str, Any]) -> None:
        """Waits for an answer, and meanwhile for what limits on single processes do not catch (`Watch`)."""
        poll = select.poll()
        poll.register(self._parent.sock, select.POLLIN)
        pause_ms = 1000 * (WATCH_BEHIND_SECONDS if self.behind else WATCH_SECONDS)
        watch = Watch(self._zygote, self._checker, self.processor, strict=self._strict)
        wall, cpu, memory_mib = limits["wall"], limits["cpu"], limits["memory_mib"]
        while not poll.poll(pause_ms):
            if not self.stopped:
                self.stopped = watch.look(
                    wall=wall, cpu=cpu, memory_mib=memory_mib, processes=PROCESSES, patience=self._patience
                )
            if self.stopped:  # again and again: it may be forking
                watch.end_programs()
            if watch.checker_is_busy(wall):
                raise Overlong
            if watch.checker_is_silent(wall, self._patience):
                raise PairDied(f"no answer in {watch.seconds():.0f} s")

    def give(self, job: Mapping[str, Any]) -> bool:
        """Hands over a call job, whose `answer` comes behind those of the jobs before it.

        Returns False for one that is not taken while another runs: its sender might have to wait.
        """
        packed = _packed(job)
        if self.unanswered and len(packed) > READY_BYTES:
            return False
        self._send(frames.JOB, packed, job["limits"])
        self.jobs += 1
        self.unanswered += 1
        return True

    def answer(self, limits: Mapping[str, Any]) -> dict[str, Any]:
        """Waits for the answer to the first job that has none yet."""
        self.stopped = ""
        _, data = self._receive(limits)
        self.unanswered -= 1
        return _answer(data)

    def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Judges a call job, or asks for a probe."""
        self.give(job)
        return self.answer(job["limits"])

    def run_cases(self, job: Mapping[str, Any], cases: Any) -> dict[str, Any]:
        """Judges a stdin program, one case at a time, until one fails."""
        self.jobs += 1
        self.stopped = ""
        limits = job["limits"]
        kind, data = self._ask(frames.JOB, job, limits)
        source = iter(cases)
        while kind == frames.CASE_RESULT and not data:
            case: StdioCase | None = next(source, None)
            if case is None:
                break
            kind, data = self._ask(frames.JOB_CASE, (case.input, case.expected), limits)
        if kind == frames.CASE_RESULT:
            kind, data = self._ask(frames.JOB_END, None, limits)
        return _answer(data)

    @property
    def _patience(self) -> int:
        return PATIENCE_FACTOR_BEHIND if self.behind else PATIENCE_FACTOR

    def fall_behind(self) -> None:
        """From now on its processes run only where nobody else wants their processor, unless we have a policy of our own."""
        if os.sched_getscheduler(0) == os.SCHED_OTHER and not self.behind:
            self.behind = True
            self._watch_after(WATCH_BEHIND_SECONDS)
            self._schedule(os.SCHED_IDLE)

    def come_forward(self) -> None:
        """Takes `fall_behind` back. That takes a privilege: without it `behind` stays true."""
        self.behind = not self._schedule(os.SCHED_OTHER)
        if not self.behind:
            self._watch_after(WATCH_SECONDS)

    def _schedule(self, policy: int) -> bool:
        """Whether all of its processes have this policy now. What they fork from then on has it from them."""
        try:
            for _ in range(2):  # a second time for what was forked meanwhile
                for pid in (self._checker, self._zygote, *process_tree.descendants(self._zygote)):
                    with contextlib.suppress(ProcessLookupError):  # a program that is over
                        os.sched_setscheduler(pid, policy, os.sched_param(0))
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Ends both processes now, from any thread; whoever waits for an answer gets `PairDied`. `close` comes after."""
        for process in self._processes:
            process.kill()

    def close(self) -> None:
        self._parent.sock.close()  # the checker sees it and leaves, and with it the zygote
        for process in reversed(self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            if process.poll() is None:
                process.kill()
                process.wait()
        self._scratch.remove()
        if self._links:
            self._links.remove()
