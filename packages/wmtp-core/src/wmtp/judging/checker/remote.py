"""The checker's view of a program: its names as callables, its objects as handles, values as exact data.

Runs in the trusted process. Everything that comes back is either plain data that the codec rebuilt, or a `RemoteObject`
that knows only its number: comparing one is refused, since its ``__eq__`` is the program's own.
"""

from __future__ import annotations

import builtins
import collections
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from wmtp.judging.sandbox import candidate
from wmtp.judging.wire import channel, codec, frames

BUDGET_BYTES = 256 << 20  # all replies of one program together: no endless stream of small values either


class Gone(Exception):  # noqa: N818
    """The child is gone: it exited, was killed, or broke the framing."""


class Unjudgeable(Exception):  # noqa: N818
    """The program's answer cannot be compared as plain data; counts as a wrong answer."""


class Unsplittable(Exception):  # noqa: N818
    """The test itself hands over something that cannot cross. A matter of the problem, never of the program."""


class ProgramError(Exception):
    """An exception of the program that has no builtin name; derives from nothing that a test would expect."""


class ProgramExit(BaseException):
    """The program raised SystemExit or KeyboardInterrupt inside a call."""


class RemoteProgram:
    """Calls into one child over one channel."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.spent = 0
        """Bytes of all its answers."""
        self.asked = False
        """Whether a test has asked it for anything since it was loaded."""
        self.raised: list[BaseException] = []
        """What came from the program, and not from the tests."""
        self._decoder = codec.Decoder(self._resolve)
        self._functions: list[Callable[..., Any]] = []
        self.functions: list[str] = []
        self._variables: list[str] = []
        self._lent: dict[str, Any] = {}
        self._objects: dict[int, RemoteObject] = {}
        self.fault: Exception | None = None
        """What ended this program as far as its verdict goes, even where a test catches every exception."""

    def fail(self, fault: Exception) -> NoReturn:
        self.fault = self.fault or fault
        raise fault from None

    def _number(self, value: Any) -> int | None:
        """The handle of an object of the program, or of one of our functions that the program may call back."""
        if isinstance(value, RemoteFunction):
            value = value.object()
        if isinstance(value, RemoteObject):
            number: int = object.__getattribute__(value, "_number")
            return number
        if callable(value) and not isinstance(value, type):
            self._functions.append(value)
            return candidate.OURS + len(self._functions) - 1
        if isinstance(value, Iterator):
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
        try:
            return frames.RETURNED, codec.Encoder(self._number).encode(result)
        except codec.Refused as refused:  # what it is depends on what the program has asked for
            self.fail(Unjudgeable(f"a function of the test gives {refused}, which cannot cross"))

    def _raise(self, data: bytes, *, steps: bool) -> NoReturn:
        fields = self._value(data)
        if not (isinstance(fields, list) and len(fields) == 3 and isinstance(fields[0], list)):
            self.fail(Unjudgeable("malformed exception"))
        if len(fields[0]) > 50 or not all(type(text) is str and len(text) <= 1000 for text in fields[1:]):
            self.fail(Unjudgeable("malformed exception"))
        for name in fields[0]:
            found = getattr(builtins, name, None) if isinstance(name, str) else None
            if isinstance(found, type) and issubclass(found, BaseException):
                if not issubclass(found, Exception):
                    raise ProgramExit(f"{fields[1]}: {fields[2]}")
                if found is Exception or (issubclass(found, StopIteration) and not steps):
                    break
                try:
                    raised = found(str(fields[2]))
                except TypeError:  # UnicodeDecodeError and its like want more arguments: as the next of their bases
                    continue
                self.raised.append(raised)
                raise raised
        raise ProgramError(f"{fields[1]}: {fields[2]}")

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

    def load(self, code: str, imports: str, names: Sequence[str]) -> None:
        """Runs the program, then `imports`, and learns which of `names` it has defined."""
        _, data = self.ask(frames.PROGRAM, self._encode([code, imports, list(names)]))
        kinds = self._value(data)
        self.asked = False
        if not (isinstance(kinds, list) and len(kinds) == len(names)):
            self.fail(Unjudgeable("malformed list of names"))
        self.functions = [name for name, kind in zip(names, kinds, strict=True) if kind == "function"]
        self._variables = [name for name, kind in zip(names, kinds, strict=True) if kind == "value"]

    def lend(self, space: dict[str, Any]) -> None:
        """Gives a test the program's names that are no functions, with what they hold now. What the setup or a test has put
        under such a name stays."""
        for name in self._variables:
            if name not in space or (name in self._lent and space[name] is self._lent[name]):
                space[name] = self._lent[name] = self.operate("lookup", name)

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls a function of the program. Arguments that it changed are changed here too."""
        kind, data = self.ask(frames.CALL, self._encode([name, list(args), kwargs]))
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

    def operate(self, operation: str, *operands: Any) -> Any:
        _, data = self.ask(frames.OPERATE, self._encode([operation, *operands]), steps=operation == "next")
        return self._value(data)


def merged(mine: Any, after: Any) -> Any:
    """What stands in place of `mine` once the program may have changed it: `mine` itself, changed in place, if it is a
    container of the same kind; else `after`."""
    if type(mine) is not type(after):
        return after
    if isinstance(mine, list):
        kept = [merged(one, other) for one, other in zip(mine, after, strict=False)]
        mine[:] = kept + after[len(kept) :]
    elif type(mine) is tuple:
        return tuple(map(merged, mine, after)) if len(mine) == len(after) else after
    elif isinstance(mine, dict):
        values = {key: merged(mine[key], value) if key in mine else value for key, value in after.items()}
        mine.clear()
        if isinstance(mine, collections.OrderedDict):
            mine.update(values)  # dict.update would leave it without an order
        else:
            dict.update(mine, values)  # as they are: Counter.update would add
    elif isinstance(mine, (set, collections.deque, bytearray)):
        mine.clear()
        mine.update(after) if isinstance(mine, set) else mine.extend(after)
    else:
        return after
    return mine


def _same_object(one: RemoteObject, other: RemoteObject) -> bool:
    return bool(object.__getattribute__(one, "_number") == object.__getattribute__(other, "_number"))


class RemoteFunction:
    """A name of the program, callable from a test."""

    def __init__(self, program: RemoteProgram, name: str) -> None:
        self._program, self._name = program, name
        self.__name__ = name

    def object(self) -> RemoteObject:
        """The function itself, to hand it over as an argument or to read an attribute."""
        answer = self._program.operate("handle", self._name)
        if not isinstance(answer, RemoteObject):
            self._program.fail(Unjudgeable("malformed answer"))
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.object(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._program.call(self._name, args, kwargs)


class RemoteObject:
    """An object that stays in the child. Its attributes, items and methods can be used; it cannot be compared."""

    __slots__ = ("_number", "_program")

    def __init__(self, program: RemoteProgram, number: int) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def _do(self, operation: str, *operands: Any) -> Any:
        program: RemoteProgram = object.__getattribute__(self, "_program")
        return program.operate(operation, self, *operands)

    def _fail(self, why: str) -> NoReturn:
        program: RemoteProgram = object.__getattribute__(self, "_program")
        program.fail(Unjudgeable(why))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself asks for, not a test
            raise AttributeError(name)
        return self._do("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._do("setattr", name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._do("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._do("setitem", key, value)

    def __contains__(self, item: Any) -> bool:
        # Item by item, here: its own __contains__ could say yes to anything, and would learn what is looked for.
        return any(mine is item or mine == item for mine in self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("call", list(args), kwargs)

    def __len__(self) -> int:
        length = self._do("len")
        if type(length) is not int or length < 0:
            self._fail("malformed length")
        return int(length)

    def __iter__(self) -> Any:
        return _RemoteIterator(self._do("iter"))

    def __next__(self) -> Any:
        return self._do("next")

    def __bool__(self) -> bool:
        return self._do("truth") is True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteObject):
            return False  # as any object without an __eq__ of its own: nothing gained by not being data
        if not _same_object(self, other):
            self._fail("objects of the program's own classes cannot be compared")
        return True

    def __hash__(self) -> int:
        self._fail("an object of the program's own class cannot be hashed")


class _RemoteIterator:
    def __init__(self, source: Any) -> None:
        if not isinstance(source, RemoteObject):
            source = iter(source)
        self._source = source

    def __iter__(self) -> _RemoteIterator:
        return self

    def __next__(self) -> Any:
        return next(self._source)
