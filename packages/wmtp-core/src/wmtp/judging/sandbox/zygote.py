"""The zygote: a warm interpreter behind walls that forks one child a program and sweeps up after it.

Started by the parent as a bare interpreter with a control socket. For each request it receives (limits, a channel that
leads to the checker), forks a child that serves the channel, and reports how the child ended. It never sees a test, and
it runs no line of any program itself. Standard library only.
"""

from __future__ import annotations

import _socket
import contextlib
import ctypes
import functools
import gc
import json
import math
import os
import random
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from wmtp.judging.sandbox import (
    areas,
    c_functions,
    candidate,
    first_steps,
    folders,
    hot_pages,
    huge_text,
    landlock,
    large_folios,
    libraries,
    lockdown,
    pipes,
    process_tree,
    rehearsal,
    root,
    seccomp,
    selftest,
    stdin_programs,
    warm,
    watchdog,
)
from wmtp.judging.wire import channel, frames, inherited
from wmtp.judging.wire.limits import STACK_BYTES

MAX_REQUEST = 4096
MAX_OPTIONS = 1 << 16
SPACE = socket.CMSG_SPACE(4)
FIRST_PID = b"100"
_shutdown = c_functions.named("shutdown", 2)


class Zygote:
    """One control socket, one level. `walls`: pid 1 of its own namespace; else an ordinary process with a subreaper."""

    def __init__(
        self,
        control: socket.socket,
        *,
        folder: folders.Folder,
        deaths: watchdog.Deaths,
        baseline: int,
        walls: Walls | None,
        rules: int | None,
        server: candidate.Server,
        sock: _socket.socket,
        keepers: Keepers | None = None,
    ) -> None:
        self._control, self._folder, self._deaths = control, folder, deaths
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(deaths.descriptor, select.POLLIN)
        self._walls = walls
        self._baseline = baseline
        self._server, self._sock = server, sock
        self._report = ctypes.create_string_buffer(channel.REPORT.size)
        self._keepers = keepers
        self._ready: dict[int, list[first_steps.Step]] = {}
        self._own: list[first_steps.Step] = [first_steps.own_session(), *first_steps.own_streams()]
        if rules is not None:
            self._own.insert(0, first_steps.restricted(rules))
        if walls:
            self._own.insert(0, first_steps.no_capabilities())

    def loop(self) -> None:
        message, request = b"", {}
        while True:
            received, ancillary, _, _ = self._control.recvmsg(MAX_REQUEST, SPACE)
            if not received:
                return
            if not ancillary:  # a stop that came after its program had already been reported
                continue
            if received != message:  # most programs have the same limits
                message, request = received, self._complete(json.loads(received))
                self._ready = {}
            self._one(request, int.from_bytes(ancillary[0][2], sys.byteorder))
            self._control.send(self._report)
            ctypes.memset(self._report, 0, channel.REPORT.size)

    def _complete(self, request: dict[str, Any]) -> dict[str, Any]:
        limits = request["limits"]
        limits |= {"baseline": self._baseline, "stdin": lockdown.STDIN if self._walls else ""}
        limits["steps"] = [first_steps.unblocked(signal.SIGCHLD), *first_steps.limits(candidate.bounds(limits))]
        return request

    def _steps(self, request: dict[str, Any], descriptor: int) -> list[first_steps.Step]:
        """What the child does first. The keeper of a stdin program watches over children of its own, and has no limits."""
        own, kept = [first_steps.copied(descriptor, candidate.CHANNEL), *self._own], [candidate.CHANNEL]
        if request["mode"] != "stdio":
            return [*own, *first_steps.no_descriptors(*kept), *request["limits"]["steps"]]
        kept += [self._deaths.descriptor, *([self._keepers.ring] if self._keepers else [])]
        return [*own, *first_steps.no_descriptors(*kept)]

    def _one(self, request: dict[str, Any], descriptor: int) -> None:
        self._folder.enter(keeping=request["mode"] == "call")
        if self._walls:
            self._walls.next_pid()
        self._deaths.clear()
        steps = self._ready.get(descriptor) or self._ready.setdefault(descriptor, self._steps(request, descriptor))
        pid = lockdown.fork()
        if pid == 0:
            self._child(request, self._sock, steps)  # does not return
        # The keeper of stdin programs goes on for as long as there are cases; it looks at the CPU of each.
        stopped = self._await(pid, request["limits"]["cpu"] if request["mode"] == "call" else math.inf)
        beside = self._sweep(pid)
        if not stopped:
            # The checker waits at the channel, and a program may have left its end in a message that nobody reads.
            _shutdown(descriptor, socket.SHUT_RDWR)
        os.close(descriptor)
        if self._keepers and request["mode"] == "stdio":
            hot_pages.unpin(self._keepers.ring)
        channel.REST.pack_into(self._report, channel.REST_AT, beside, not self._clean())
        if not stopped:
            self._await_stop()

    def _await(self, pid: int, cpu: float) -> bool:
        """Waits until a program has to end: whether it is because the checker says so, and not by itself or for its CPU."""
        until = watchdog.Watchdog(pid, cpu)
        while events := until.wait(self._poll):
            for descriptor, _ in events:
                if descriptor != self._deaths.descriptor:
                    self._await_stop()
                    return True
            self._deaths.clear()
            if watchdog.has_ended(pid):
                break
        return False

    def _await_stop(self) -> None:
        if not self._control.recv(MAX_REQUEST):
            os._exit(0)

    def _child(self, request: dict[str, Any], sock: _socket.socket, steps: list[first_steps.Step]) -> None:
        try:
            first_steps.take(steps)
            if request["mode"] == "call":
                self._server.serve(sock)
            elif request["mode"] == "stdio":
                self._keep(request["limits"], sock)
            else:
                channel.send(sock, frames.VALUE, json.dumps(selftest.probe(request["limits"])).encode())
        except channel.Closed:
            pass  # the checker has what it wanted
        finally:
            os._exit(0)

    def _keep(self, limits: dict[str, Any], sock: _socket.socket) -> None:
        lockdown.become_subreaper()
        stdin_programs.serve(
            sock, limits, self._deaths, self._sweep_beside, self._keepers.pin if self._keepers else None
        )

    def _clean(self) -> bool:
        """Removes what the program left in /tmp. False where something resists: then this zygote must not go on."""
        try:
            self._folder.clean()
        except OSError:  # it took away the folder above, say
            if self._walls:
                raise
            return False
        return not self._walls or self._walls.last_pid is not None

    def _sweep(self, pid: int) -> float:
        """Kills all that runs here and reaps it: the CPU of all but the first, whose usage goes into the report as it is. A
        number that Python had made of it would stay in memory, for the next program to find.

        Most programs are one process. Nothing here grows with what a program has started: the next one could see that by where
        its objects lie.
        """
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so its number is nobody else's
        watchdog.reap(pid, self._report, channel.USAGE_AT)
        return self._sweep_beside()

    def _sweep_beside(self) -> float:
        """Kills everything else that runs here, and reaps it: the CPU that it used. A keeper of cases spares itself by it;
        the zygote is immune as pid 1."""
        cpu = 0.0
        while (used := watchdog.reap_any(wait=False)) is not None:
            if used < 0:  # somebody runs
                self._kill_round()
                used = watchdog.reap_any(wait=True) or 0.0
            cpu += used
        return cpu

    def _kill_round(self) -> None:
        if not self._walls:
            process_tree.end_below(os.getpid())
            return
        try:  # noqa: SIM105  (a context manager would touch more pages, in every round)
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass


class _Stage(Zygote):
    """Serves one program in a rehearsal, and leaves everybody else alone."""

    def serve(self, mode: str, descriptor: int) -> None:
        limits = {"cpu": 10, "memory_mib": 1024, "output_mib": 1, "input_file": "", "output_file": ""}
        self._one(self._complete({"mode": mode, "limits": limits}), descriptor)

    def _sweep_beside(self) -> float:
        return 0.0


class Keepers(NamedTuple):
    """What the keeper of a stdin program needs to have pages copied as it forks its cases: a ring, and which pages."""

    ring: int
    pages: ctypes.Array[ctypes.c_char]

    def pin(self) -> None:
        hot_pages.pin(self.ring, self.pages)
        os.close(self.ring)  # the zygote has it too, and lets go of the pages


class Walls(NamedTuple):
    """What the zygote needs to put each program behind its walls."""

    rules: int
    last_pid: int | None
    calls: seccomp.Ready

    def next_pid(self) -> None:
        """Every program gets the same pid, and so do those that it starts. Where that cannot be had, no zygote serves two."""
        if self.last_pid is not None:
            os.pwrite(self.last_pid, FIRST_PID, 0)


def _build_walls(outside: dict[str, str], found: libraries.Libraries, proc: int | None) -> tuple[Walls, dict[str, str]]:
    """Everything of the strict level, its filter only made ready. Returns the facts that its self-test needs, too."""
    interfaces = [name for _, name in socket.if_nameindex()]
    inside = lockdown.namespace_ids()
    shared = [name for name in lockdown.NAMESPACES if inside[name] == outside[name]]
    last_pid = None if proc is None else lockdown.open_last_pid(proc)
    lockdown.seal_root()
    pipes.replace()
    walls = Walls(
        lockdown.file_rules(found), last_pid, seccomp.Ready(seccomp.program(os.uname().machine, candidate.CHANNEL))
    )
    lockdown.keep_mounting()
    return walls, {"interfaces": ",".join(interfaces), "shared": ",".join(shared)}


def _settle(
    control: socket.socket, options: dict[str, Any], found: libraries.Libraries
) -> tuple[Walls | None, dict[str, str], int | None]:
    """Goes where programs will run: (the walls there, facts for their self-test, a descriptor of /proc)."""
    facts: dict[str, str] = {}
    walls: Walls | None = None
    strict = options["level"] == "strict"
    if strict:
        outside = lockdown.namespace_ids()
        shared = options["root"] and root.Shared(*options["root"])
        made = lockdown.enter_namespaces(options["scratch"], options["number"], found, options["packages"], shared)
        root.hand_over(control, made, shared)
        first = os.fork()
        if first:
            # Stays outside the pid namespace only to be its parent: if this dies, the kernel kills pid 1 and the rest.
            control.close()
            os._exit(_as_shells_do(os.waitpid(first, 0)[1]))
        lockdown.die_with_parent()
        proc = lockdown.open_proc()
        walls, facts = _build_walls(outside, found, proc)
    else:
        proc = os.open("/proc", os.O_RDONLY | os.O_CLOEXEC)
        lockdown.become_subreaper()
    os.chdir("/" if strict else options["scratch"])
    if options["packages"]:
        sys.path.append(lockdown.PACKAGES if strict else options["links"])
    return walls, facts, proc


def _as_shells_do(status: int) -> int:
    """An exit status that says of another process how it ended: 128 and its signal, or its own."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _give_up(control: socket.socket, error: OSError) -> NoReturn:
    control.send(json.dumps({"failed": str(error)}).encode())
    os._exit(3)


def main(descriptor: int) -> None:
    control = inherited.end(descriptor)
    try:
        inherited.forget()
        zygote = _made(control)
    except Exception as error:  # noqa: BLE001  (a fault of ours, or a machine that has nothing left: told to who waits)
        control.send(json.dumps({"fault": f"{type(error).__name__}: {error}"}).encode())
        os._exit(3)
    zygote.loop()
    os._exit(0)


def _made(control: socket.socket) -> Zygote:
    """Builds the walls, rehearses, and tells the parent that programs may come."""
    options = json.loads(control.recv(MAX_OPTIONS))
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))  # room for deep recursion
    warm.become()
    if not options["plain"]:
        huge_text.replace()
        areas.join()
    with open("/proc/self/statm", encoding="ascii") as file:
        baseline = int(file.read().split()[0]) * resource.getpagesize()
    known = options["libraries"]
    found = libraries.Libraries(*map(tuple, known)) if known else libraries.find(options["packages"])
    rings = [None if options["plain"] else hot_pages.open_ring() for _ in range(2)]
    deaths = watchdog.Deaths()
    strict = options["level"] == "strict"
    folder = folders.OwnFileSystem(options["tmpfs_mib"]) if strict else folders.HostFolder(options["scratch"])
    try:
        walls, facts, proc = _settle(control, options, found)
    except OSError as error:
        _give_up(control, error)
    lockdown.limit_all(output=options["file_mib"] << 20, processes=options["processes"], files=options["files"])
    random.seed(0)  # programs start with this state, whichever zygote they come from, so that verdicts repeat
    gc.collect()
    hot_pages.fill_pools()
    gc.freeze()  # children share these pages for as long as nothing touches them
    if proc is not None and not options["plain"] and _survives(large_folios.gather, proc):
        large_folios.gather(proc)
    make = functools.partial(
        Zygote,
        folder=folder,
        deaths=deaths,
        baseline=baseline,
        walls=walls,
        rules=walls.rules if walls else landlock.signal_rules(),
        server=candidate.Server(),
        sock=candidate.reserved(control),
    )
    keepers = _pin(rings, proc, functools.partial(_Stage, **make.keywords))
    try:
        if walls:  # not before: the rehearsal needs sockets and pipes
            walls.calls.install()
    except OSError as error:
        _give_up(control, error)
    made = make(control, keepers=keepers)
    control.send(json.dumps({"ready": facts, "libraries": found}).encode())
    return made


def _survives(what: Callable[[int], object], argument: int) -> bool:
    """Whether a fork of this process that does this first is none the worse for it."""
    pid = lockdown.fork()
    if pid == 0:
        try:
            what(argument)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _pin(rings: list[int | None], proc: int | None, stage: Callable[[socket.socket], _Stage]) -> Keepers | None:
    """Finds the pages that are written for every program, and has them copied as a child is forked, where that can be had."""
    keepers = None
    with contextlib.suppress(OSError):  # /proc does not tell
        if proc is not None and rings[0] is not None and rings[1] is not None:
            pages = rehearsal.written(lambda control, descriptor: stage(control).serve("call", descriptor), proc)
            cases = rehearsal.written_by_cases(
                lambda control, descriptor: stage(control).serve("stdio", descriptor), proc
            )
            with rehearsal.witness():  # or all the pages of their large folios would count as pinned
                hot_pages.pin(rings[0], hot_pages.vector(hot_pages.still_mapped(pages, proc)))
            keepers = Keepers(rings[1], hot_pages.vector(hot_pages.still_mapped(cases, proc)))
    if proc is not None:
        os.close(proc)
    return keepers
