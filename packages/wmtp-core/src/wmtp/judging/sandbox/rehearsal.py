"""What a zygote plays through before its first program, with programs of ours: no other ever runs in its process.

First in the process itself, often enough that the interpreter has adapted the code that serves programs: a child that has to do
so writes to pages that it could have shared. Then once more with everything real, children and walls, to see which pages are
written each time (`hot_pages`). Standard library only.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from wmtp.judging.sandbox import candidate, hot_pages, lockdown
from wmtp.judging.wire import channel, codec, frames

_pipe, _socketpair = os.pipe, socket.socketpair  # which programs lack later (`pipes`)
TIMES = 50
PATIENCE_SECONDS = 5.0
_CASES = """import os
stop = lambda status: os.kill(os.getpid(), 19)  # SIGSTOP, in place of the last thing that happens
os._exit = type(stop)(stop.__code__, {"os": os})
del stop
first, second = map(int, input().split())
print(first + second)
"""
Frame = tuple[int, bytes]
_ADD = "def add(first, second=1):\n    return first + second\n"
_PROGRAMS: tuple[tuple[str, str, tuple[list[Any], ...]], ...] = (
    (_ADD, "add", ([1], ["a", "b"], [[1.5], [2]])),
    (
        "import math\n\n\ndef roots(numbers):\n    found = []\n    for number in numbers:\n"
        "        if number > 0 and number % 2:\n"
        "            found.append(round(math.sqrt(number), 3))\n    return sorted(found, reverse=True)\n",
        "roots",
        ([[4, 9, 25]], [[]], [[1, -1, 7]]),
    ),
    (
        "import re\nfrom collections import Counter\n\n\ndef words(text, least=2):\n"
        "    count = Counter(re.findall(r'[a-z]+', text.lower()))\n"
        "    return {word: n for word, n in count.items() if n >= least}\n",
        "words",
        (["to be or not to be"], ["one two"], ["a b a", 1]),
    ),
    (
        "class Node:\n    def __init__(self, value):\n        self.value, self.below = value, []\n\n\ndef depth(nested):\n"
        "    root = Node(nested)\n    if not isinstance(nested, (list, tuple)):\n        return 0\n"
        "    root.below = [depth(part) for part in nested]\n    return 1 + max(root.below, default=0)\n",
        "depth",
        ([[1, [2, (3,)]]], [5], [[]]),
    ),
)  # fmt: skip


def _script(code: str, name: str, calls: tuple[list[Any], ...]) -> list[Frame]:
    found = [(frames.PROGRAM, codec.Encoder().encode([code, "", [name], False]))]
    return found + [(frames.CALL, codec.Encoder().encode([name, given, {}])) for given in calls]


class _Channel:
    """A channel that plays the checker's side, and listens to nothing."""

    def __init__(self) -> None:
        script = _script(_ADD, "add", ([1], ["a", "b"], [[1.5], [2]], [(1, 2), ({"a": 1}, None)]))
        self._frames = [channel.HEAD.pack(len(payload), kind) + payload for kind, payload in script] + [b""]
        self._next = 0

    def recv(self, size: int) -> bytes:
        self._next += 1
        return self._frames[(self._next - 1) % len(self._frames)]

    def sendall(self, data: bytes) -> None:
        pass


def adapt() -> None:
    """Plays a program and its calls in this process."""
    main, script = sys.modules["__main__"], _Channel()
    for _ in range(TIMES):
        with contextlib.suppress(channel.Closed):
            candidate.Server().serve(script)  # type: ignore[arg-type]
    sys.modules["__main__"] = main


One = Callable[[socket.socket, int], object]
"""Takes a control socket and a channel, and has one program served and ended; it spares other children."""
Play = Callable[[socket.socket, int, str], set[int]]
"""The checker's side: takes a channel, a descriptor of /proc and the zygote's name there; returns pages that were written."""


def written(one: One, proc: int) -> set[int]:
    """The pages that this process and its children write for most programs, by address, while both live: what this one
    writes once a child has ended costs it less than a copy. proc is a descriptor of /proc.

    Raises OSError where /proc does not tell.
    """
    seen = Counter[int]()
    for program in _PROGRAMS:
        seen.update(_watched(one, proc, functools.partial(_play_calls, _script(*program))))
    return {page for page, times in seen.items() if times >= len(_PROGRAMS) / 2}


def written_by_cases(one: One, proc: int) -> set[int]:
    """The same of the keeper of a stdin program and its cases."""
    return _watched(one, proc, _play_cases)


def _watched(one: One, proc: int, play: Play) -> set[int]:
    """The pages that `play` has found, which sees them from a process of its own. A page that only one process holds has been
    written by it, as long as a witness holds all as they were."""
    with witness():
        data = _seen(one, proc, play)
    if not data:
        raise OSError("nobody saw which pages are written")
    return set(struct.unpack(f"={len(data) // 8}Q", data))


def _seen(one: One, proc: int, play: Play) -> bytes:
    control, theirs = _socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, childs = _socketpair()
    told, tell = _pipe()
    zygote = os.readlink("self", dir_fd=proc)
    player = lockdown.fork()
    if player == 0:
        try:
            try:
                pages = play(ours, proc, zygote)
                os.write(tell, struct.pack(f"={len(pages)}Q", *pages))
            finally:  # or nothing is told
                theirs.send(b"stop")
        finally:
            os._exit(1)
    for descriptor in (tell, ours.detach()):
        os.close(descriptor)
    one(control, childs.detach())
    with os.fdopen(told, "rb") as file:
        data = file.read()
    os.waitpid(player, 0)
    control.close()
    theirs.close()
    return data


@contextlib.contextmanager
def witness() -> Iterator[None]:
    """Meanwhile there is a fork of this process that never runs, and holds every page as it is now."""
    pid = lockdown.fork()
    if pid == 0:
        while True:
            signal.pause()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _children(proc: int, process: str) -> list[str]:
    with open(os.open(f"{process}/task/{process}/children", os.O_RDONLY, dir_fd=proc), encoding="ascii") as file:
        return file.read().split()


def _childs_name(proc: int, zygote: str) -> str:
    """The program's process, by its name in /proc: the youngest child of the zygote, which lists them in order."""
    return _children(proc, zygote)[-1]


def _play_calls(script: list[Frame], sock: socket.socket, proc: int, zygote: str) -> set[int]:
    for kind, payload in script:
        channel.send(sock, kind, payload)
        channel.receive(sock, candidate.FRAME_LIMIT)
    return hot_pages.own(zygote, proc) | hot_pages.own(_childs_name(proc, zygote), proc)


def _play_cases(sock: socket.socket, proc: int, zygote: str) -> set[int]:
    """Cases that print, then stop as they end, so that they can be looked at, and their keeper with them."""
    channel.send(sock, frames.PROGRAM, _CASES.encode())
    channel.receive(sock, candidate.FRAME_LIMIT)
    keeper = _childs_name(proc, zygote)
    found = set[int]()
    for given in (b"3 4\n", b"5 6\n"):
        channel.send(sock, frames.CASE, given)
        until = time.monotonic() + PATIENCE_SECONDS
        while not (case := _stopped_child(proc, keeper)):
            if time.monotonic() > until:
                return set()
            time.sleep(0.0005)
        found |= hot_pages.own(case, proc) | hot_pages.own(keeper, proc)
        os.kill(int(_line(proc, case, "NSpid").split()[-1]), signal.SIGKILL)  # /proc may be another pid namespace's
        channel.receive(sock, candidate.FRAME_LIMIT)
    return found


def _stopped_child(proc: int, keeper: str) -> str:
    return next((name for name in _children(proc, keeper) if _line(proc, name, "State").split()[0] == "T"), "")


def _line(proc: int, process: str, key: str) -> str:
    """What /proc/<process>/status says of `key`."""
    with open(os.open(f"{process}/status", os.O_RDONLY, dir_fd=proc), encoding="utf-8", errors="replace") as file:
        return next(line for line in file if line.startswith(f"{key}:")).partition(":")[2]
