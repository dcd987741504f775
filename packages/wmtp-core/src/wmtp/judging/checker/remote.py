"""The checker's view of a program: its names as callables, its objects as handles, values as exact data.

Runs in the trusted process. Everything that comes back is either plain data that the codec rebuilt, or a `RemoteObject`
that knows only its number: comparing one is refused, since its ``__eq__`` is the program's own.
"""

from __future__ import annotations

import _socket
import collections
import dataclasses
import io
import random
import struct
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from wmtp.judging.checker.exceptions import OwnException, Raised, own_class
from wmtp.judging.checker.handles import AsyncFunction, RemoteFunction, RemoteObject
from wmtp.judging.checker.lending import described
from wmtp.judging.checker.merge import merged
from wmtp.judging.sandbox import candidate, lent_functions
from wmtp.judging.wire import channel, codec, frames

KEPT, KEPT_BYTES = 32, 1 << 18  # copies of what a program keeps that are looked at, the last ones; one of any size
BUDGET_BYTES = 256 << 20  # all replies of one program together: no endless stream of small values either


class Gone(Exception):  # noqa: N818
    """The child is gone: it exited, was killed, or broke the framing."""


class Unjudgeable(Exception):  # noqa: N818
    """The program's answer cannot be compared as plain data; counts as a wrong answer."""


class Unsplittable(Exception):  # noqa: N818
    """The test itself hands over something that cannot cross. A matter of the problem, never of the program."""


@dataclasses.dataclass
class _Kept:
    """A container that the program keeps, of which a test has a copy."""

    where: tuple[Any, ...]
    """How it is asked for."""
    value: Any
    """The copy."""
    seen: bytes
    """What both hold, written down."""


class RemoteProgram:
    """Calls into one child over one channel."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._lock = threading.RLock()  # a test may start threads, and a function that it hands over may ask again
        self.spent = 0
        """Bytes of all its answers."""
        self.asked = False
        """Whether a test has asked it for anything since it was loaded."""
        self.raised: list[BaseException] = []
        """What came from the program, and not from the tests."""
        self._decoder = codec.Decoder(self._resolve)
        self._functions: list[Callable[..., Any]] = []
        self.names: dict[str, Any] = {}
        """Names of the program that lead to it: functions, classes, and local classes in place of its exceptions."""
        self._variables: list[str] = []
        self._lent: dict[str, Any] = {}
        self._space: dict[str, Any] | None = None
        self._listens = False
        self.given: list[Any] | None = None
        """Arguments of all calls, where a test asks whether two values are one object."""
        self.returned: list[Any] = []
        self._objects: dict[int, RemoteObject] = {}
        self._started: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        """What a test awaits → the program's coroutine, to be handed back as that."""
        self._kept: collections.deque[_Kept] = collections.deque(maxlen=KEPT)
        self._held: dict[str, _Kept] = {}  # the same of variables, by their names
        self.fault: Exception | None = None
        """What ended this program as far as its verdict goes, even where a test catches every exception."""

    def fail(self, fault: Exception) -> NoReturn:
        self.fault = self.fault or fault
        raise fault from None

    def refuse(self, why: str) -> NoReturn:
        """Ends this program: what it gave cannot be judged, and counts as wrong."""
        self.fail(Unjudgeable(why))

    def derived(self) -> NoReturn:
        self.fail(Unsplittable("a class that derives from one of the program's"))

    def set(self, what: str, value: Any = None, **options: Any) -> None:
        """``random.seed`` or ``sys.setrecursionlimit`` of a test, for both sides: the program draws and recurses elsewhere."""
        asked = self.asked
        random.seed(value, **options) if what == "seed" else sys.setrecursionlimit(max(value, sys.getrecursionlimit()))
        self.operate(what, value)
        self.asked = asked

    def _number(self, value: Any) -> int | list[Any] | None:
        """The handle of an object of the program, or of one of our functions that the program may call back."""
        if isinstance(value, RemoteFunction):
            value = value.object()
        elif isinstance(value, types.CoroutineType):
            value = self._started.get(value)
        elif isinstance(value, OwnException):
            value = value.origin
        elif isinstance(value, type) and value in self.names.values():
            value = self.operate("handle", value.__name__)
        if isinstance(value, RemoteObject):
            number: int = object.__getattribute__(value, "_number")
            return number
        if callable(value) and not isinstance(value, type):
            told = described(value)
            if told is None:
                raise codec.Refused("an async function of the test")
            place = next((i for i, known in enumerate(self._functions) if known is value), len(self._functions))
            if place == len(self._functions):
                self._functions.append(value)
            return [candidate.OURS + place, *told]
        if any(value is raised or value is type(raised) for raised in self.raised):
            self.refuse("an exception that the program has raised cannot be handed back to it")
        if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            self._functions.append(value.__next__)
            return candidate.OURS + len(self._functions) - 1
        return None

    def _resolve(self, number: int) -> Any:
        if number < candidate.OURS:
            found = self._objects.get(number)  # one here for one there, so that `is` says what it says there
            if found is None:
                found = self._objects[number] = RemoteObject(self, number)
            return found
        if number - candidate.OURS >= len(self._functions):
            self.fail(Unjudgeable("an unknown function"))
        return self._functions[number - candidate.OURS]

    def ask(self, kind: int, payload: bytes, *, steps: bool = False) -> tuple[int, bytes]:
        """Sends a frame and waits for its answer. Exceptions of the program are raised here under their builtin names.

        steps: the answer is the next item of an iterator, so StopIteration is in its place. Elsewhere it would end a
        ``map`` or a ``zip`` of the test's in silence, and ``all`` of nothing is true.
        """
        self.asked = True
        with self._lock:
            try:
                channel.send(self._sock, kind, payload)
                reply, data = self._receive()
                while reply == frames.CALLBACK:
                    channel.send(self._sock, *self._called_back(data))
                    reply, data = self._receive()
            except channel.Closed as closed:
                self.fail(Gone(str(closed)))
        if reply == frames.RAISED:
            self._raise(data, steps=steps)
        if reply == frames.REFUSED:
            self.fail(
                Unjudgeable(f"the value cannot be compared as plain data: {data[:200].decode('utf-8', 'replace')}")
            )
        return reply, data

    def _receive(self) -> tuple[int, bytes]:
        reply, data = channel.receive(self._sock, candidate.FRAME_LIMIT)
        self.spent += len(data) + 64
        if self.spent > BUDGET_BYTES:
            self.fail(Unjudgeable("the program answers with too much data"))
        return reply, data

    def _called_back(self, data: bytes) -> tuple[int, bytes]:
        """Runs a function of the test that the program calls."""
        request = self._value(data)
        if not (isinstance(request, list) and len(request) == 3 and type(request[0]) is int):
            self.fail(Unjudgeable("malformed call"))
        function = self._resolve(request[0])
        if not (
            isinstance(request[1], list) and isinstance(request[2], dict) and all(type(k) is str for k in request[2])
        ):
            self.fail(Unjudgeable("malformed call"))
        if any(given is ours for given in (*request[1], *request[2].values()) for ours in self._functions):
            # It could format it, say, and read its globals.
            self.fail(Unjudgeable("a function of the test, handed to a function of the test"))
        try:
            result = function(*request[1], **request[2])
        except Exception as error:  # the function's own, for the program to handle  # noqa: BLE001
            text = str(error)[:1000] if all(type(arg) is str for arg in error.args) else ""
            return frames.THREW, codec.Encoder().encode([type(error).__name__, text])
        changeable = any(isinstance(given, lent_functions.CHANGEABLE) for given in request[1])
        try:
            return frames.RETURNED, codec.Encoder(self._number).encode([result, request[1] if changeable else []])
        except codec.Refused as refused:  # what it is depends on what the program has asked for
            self.fail(Unjudgeable(f"a function of the test gives {refused}, which cannot cross"))

    def _raise(self, data: bytes, *, steps: bool) -> NoReturn:
        described = Raised.read(self._value(data))
        if described is None:
            self.fail(Unjudgeable("malformed exception"))
        origin = self._resolve(described.number) if described.number >= 0 else None
        raised = described.exception(self.names, origin, steps=steps)
        self.raised.append(raised)
        raise raised

    def _value(self, data: bytes) -> Any:
        try:
            return self._decoder.decode(data)
        except codec.Malformed as malformed:
            self.fail(Unjudgeable(f"malformed answer: {malformed}"))

    def _encode(self, value: Any) -> bytes:
        try:
            return codec.Encoder(self._number).encode(value)  # a new one: to number a function asks the child
        except codec.TooMuch as refused:  # grown from the program's own answers
            self.fail(Unjudgeable(str(refused)))
        except codec.Refused as refused:
            self.fail(Unsplittable(str(refused)))

    def load(self, code: str, imports: str, names: Sequence[str], *, listen: bool = False) -> None:
        """Runs the program, then `imports`, and learns which of `names` it has defined. `listen`: a test reads its output."""
        _, data = self.ask(frames.PROGRAM, self._encode([code, imports, list(names), listen]))
        kinds = self._value(data)
        self.asked = False
        self._listens = listen
        if not (isinstance(kinds, list) and len(kinds) == len(names)):
            self.fail(Unjudgeable("malformed list of names"))
        for name, kind in zip(names, kinds, strict=True):
            if kind in ("function", "async"):
                self.names[name] = (RemoteFunction if kind == "function" else AsyncFunction)(self, name)
            elif isinstance(kind, list):
                self.names[name] = own_class(name, kind)
            elif kind == "value":
                self._variables.append(name)

    def lend(self, space: dict[str, Any]) -> None:
        """Gives a test the program's names that are no functions, with what they hold now, and again after each call. What the
        setup or a test has put under such a name stays."""
        self._space = space
        self._give_back()  # behind a call too: an argument that it has changed may be a variable's copy
        for name in self._variables:
            if name not in space or (name in self._lent and space[name] is self._lent[name]):
                _, data = self.ask(frames.OPERATE, self._encode(["lookup", name]))
                space[name] = self._lent[name] = value = self._value(data)
                if isinstance(value, lent_functions.CHANGEABLE):
                    self._held[name] = _Kept(("lookup", name), value, self._encode(value))

    def call(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls a function of the program, by name, or one of its objects. Arguments that it changed are changed here too."""
        self._give_back()
        try:
            kind, data = self.ask(frames.CALL, self._encode([target, list(args), kwargs]))
            result = self._result(kind, data, args, kwargs)
        finally:
            self._follow()
        if kind == frames.COROUTINE:
            return self.coroutine(result, args, kwargs)
        if self.given is not None:
            self.given += [*args, *kwargs.values()]
            self.returned.append(result)
        return result

    def coroutine(self, started: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """What a test awaits in place of the program's coroutine, which then runs to its end."""

        async def wait() -> Any:
            try:
                kind, data = self.ask(frames.OPERATE, self._encode(["await", started]))
                return self._result(kind, data, args, kwargs or {})
            finally:
                self._follow()

        waiting = wait()
        self._started[waiting] = started
        return waiting

    def _follow(self) -> None:
        """Takes over what a call may have changed beside its arguments: variables, and what it has printed."""
        if self.fault:
            return
        if self._listens:
            _, data = self.ask(frames.OPERATE, self._encode(["printed"]))
            texts = self._value(data)
            if not (isinstance(texts, list) and len(texts) == 2 and all(type(text) is str for text in texts)):
                self.refuse("malformed output")
            for stream, text in zip((sys.stdout, sys.stderr), texts, strict=True):
                if text:
                    stream.write(text)
        if self._variables and self._space is not None:
            self.lend(self._space)

    def _result(self, kind: int, data: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kind == frames.SAME:
            answer = self._value(data)
            if not (isinstance(answer, list) and len(answer) == 2 and isinstance(answer[1], bytes)):
                self.fail(Unjudgeable("malformed answer"))
            if not (type(answer[0]) is int and 0 <= answer[0] < len(args)):
                self.fail(Unjudgeable("malformed answer"))
            self._restore(args, kwargs, answer[1])
            return args[answer[0]]
        if data.startswith(candidate.CHANGED):
            start = len(candidate.CHANGED)
            if len(data) < start + 8:
                self.fail(Unjudgeable("malformed answer"))
            (length,) = struct.unpack_from("<Q", data, start)
            value, rest = data[start + 8 : start + 8 + length], data[start + 8 + length :]
            self._restore(args, kwargs, rest)
            return self._value(value)
        return self._value(data)

    def _restore(self, args: tuple[Any, ...], kwargs: dict[str, Any], data: bytes) -> None:
        if not data:
            return
        after = self._value(data)
        if not (isinstance(after, list) and len(after) == 3 and isinstance(after[1], list)):
            self.fail(Unjudgeable("malformed arguments"))
        for mine, changed in zip(args, after[1], strict=False):
            merged(mine, changed)
        if isinstance(after[2], dict):
            for name in kwargs.keys() & after[2].keys():
                merged(kwargs[name], after[2][name])

    def _keep(self, kept: _Kept) -> None:
        self._kept.append(kept)
        # Each is written down again and again.
        while len(self._kept) > 1 and sum(len(one.seen) for one in self._kept) > KEPT_BYTES:
            self._kept.popleft()

    def _give_back(self) -> None:
        """Changes what the program keeps as a test has changed its copy: an attribute, an item, a variable."""
        for kept in (*self._kept, *self._held.values()):
            now = self._encode(kept.value)
            if now != kept.seen:
                kept.seen = now
                self.ask(frames.OPERATE, self._encode(["refill", *kept.where, kept.value]))

    def operate(self, operation: str, *operands: Any) -> Any:
        self._give_back()
        try:
            _, data = self.ask(
                frames.OPERATE, self._encode([operation, *operands]), steps=operation in ("next", "anext")
            )
            value = self._value(data)
            if operation in ("getattr", "getitem") and isinstance(value, lent_functions.CHANGEABLE):
                self._keep(_Kept((operation, *operands), value, self._encode(value)))
            return value
        finally:
            if operation not in ("handle", "lookup"):
                self._follow()

    def kind(self, value: Any) -> Any:
        """``type(value)`` of a test: of what stays with the program, the program's own class."""
        if isinstance(value, RemoteFunction):
            value = value.object()
        return self.operate("class", value) if isinstance(value, RemoteObject) else value.__class__

    def same(self, one: Any, other: Any) -> bool:
        """``one is other`` of a test, where one of them may have come over as a copy."""
        if one is other:
            return True
        one, other = (value.object() if isinstance(value, RemoteFunction) else value for value in (one, other))
        if one is other:
            return True
        if isinstance(one, RemoteObject) or isinstance(other, RemoteObject) or type(one) is not type(other):
            return False
        if isinstance(one, type) or callable(one) or self._is_known(one, other) or one != other:
            return False
        raise Unsplittable("the question whether two equal values are one object")

    def _is_known(self, one: Any, other: Any) -> bool:
        """Whether one is an argument and the other a result: an argument that is returned comes back as itself."""
        ids = [{id(value) for value in found} for found in (self.given or (), self.returned)]
        return (id(one) in ids[0] and id(other) in ids[1]) or (id(other) in ids[0] and id(one) in ids[1])
