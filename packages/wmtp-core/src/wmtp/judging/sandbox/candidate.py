"""What runs in the forked child: the program, and the answers to calls into it. Untrusted from the first line it runs.

Nothing here protects the verdict. Whatever the child answers is only a value; the checker, elsewhere, compares it.
Standard library only.
"""

from __future__ import annotations

import _socket
import builtins
import collections
import copy
import functools
import io
import math
import operator
import os
import random
import socket
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from wmtp.judging.sandbox import lent_functions, lockdown
from wmtp.judging.wire import channel, codec, frames
from wmtp.judging.wire.limits import backstop

OURS = 1 << 62  # handles from here on name functions of the checker
FRAME_LIMIT = codec.MAX_BYTES + 4096


CHANNEL = 63  # the last descriptor for which no process needs a larger table; nobody sees its inode (`seccomp`)


def reserved(some: socket.socket) -> _socket.socket:
    """What a child knows its channel by, made before there is one. The C type: every page that a child touches is a fault."""
    os.dup2(some.fileno(), CHANNEL)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, CHANNEL)
    os.close(CHANNEL)
    return sock


def bounds(limits: Mapping[str, int]) -> lockdown.Bounds:
    """The kernel's limits of one program, made ready before the fork: whatever a child need not do costs it no page. Its memory
    counts from what the warm interpreter holds already (``baseline``, bytes).

    The kernel's own limit on CPU only catches what nobody watches, processes that a program starts: it counts ticks of the
    clock, which on a busy machine run ahead of the CPU that a process got.
    """
    cpu = backstop(limits["cpu"])
    return lockdown.bounds(cpu=cpu, memory=(limits["memory_mib"] << 20) + limits["baseline"])


NAME = "program.py"


class Source:
    """The text of the program, for ``inspect.getsource`` and tracebacks: it lies in no file."""

    def __init__(self, code: str) -> None:
        self._code = code.removeprefix("\ufeff")

    def get_source(self, name: str) -> str:
        return self._code


def new_main(name: str) -> types.ModuleType:
    """A fresh module for the program, which is ``__main__`` to whoever asks, so that classes it defines find their module."""
    sys.modules.pop("program", None)  # the one that a `Server` has made ahead
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    module.__dict__["__file__"] = NAME
    sys.modules[name] = sys.modules["__main__"] = module
    return module


def compile_program(code: str) -> types.CodeType:
    return compile(code.removeprefix("\ufeff"), NAME, "exec", dont_inherit=True)


MAX_TEXT = 1 << 16  # of one argument of an exception
_ARGUMENTS = (int, float, bool, type(None))


def describe(error: BaseException, own: Mapping[type, str] = types.MappingProxyType({}), number: int = -1) -> bytes:
    """An exception as its classes, nearest first, its own name, its text cut short, its arguments if they are plain and small,
    and its number.

    A class is named ``"ValueError"`` (a builtin), ``"json.decoder:JSONDecodeError"``, or ``"=Name"`` for one of `own`.
    """
    classes = []
    for kind in type(error).__mro__:
        if kind.__module__ == "builtins":
            classes += [kind.__name__] if kind is not object else []
        else:
            classes.append(f"={own[kind]}" if kind in own else f"{kind.__module__}:{kind.__qualname__}"[:200])
    try:
        text = str(error)[:1000]
    except BaseException:  # its __str__ is the program's  # noqa: BLE001
        text = ""
    given = error.args
    if isinstance(error, OSError) and len(given) == 2 and type(error.filename) is str:
        given = (*given, error.filename)
    arguments = list(given) if len(given) <= 10 and all(map(_is_small, given)) else None
    return codec.Encoder().encode([classes[:50], type(error).__name__[:100], text, arguments, number])


def _is_small(value: Any) -> bool:
    return type(value) in _ARGUMENTS or (type(value) in (str, bytes) and len(value) <= MAX_TEXT)


class _Objects:
    """Objects of the program that the checker knows by number, and functions of the checker's that the program may call."""

    def __init__(self, reply: Callable[[int, bytes], tuple[int, bytes]], space: dict[str, Any]) -> None:
        """reply answers a frame; space holds the program's names."""
        self.sock: _socket.socket | None = None
        self._reply, self._space = reply, space
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}  # one number an object, so that the checker can tell the same from another
        self._lent: list[Any] = []  # kept alive, as the others

    def handle(self, value: Any) -> int:
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)  # kept alive, so its id stays its own
        return number

    def resolve(self, number: int) -> Any:
        if number < OURS:
            return self._objects[number]
        return self._keep(number, lent_functions.Stepper(functools.partial(self._call_back, number)))

    def lend(self, number: int, name: str, text: str | None, parameters: list[str] | None) -> Any:
        """A function of the test's."""
        call = functools.partial(self._call_back, number)
        return self._keep(number, lent_functions.made(call, name, text, parameters))

    def _keep(self, number: int, lent: Any) -> Any:
        self._lent.append(lent)
        self._numbers[id(lent)] = number
        return lent

    def _call_back(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert self.sock
        channel.send(self.sock, frames.CALLBACK, codec.Encoder(self.handle).encode([number, list(args), kwargs]))
        kind, payload = channel.receive(self.sock, FRAME_LIMIT)
        while kind not in (frames.RETURNED, frames.THREW):  # it asks the program for something meanwhile
            channel.send(self.sock, *self._reply(kind, payload))
            kind, payload = channel.receive(self.sock, FRAME_LIMIT)
        answer = codec.Decoder(self.resolve, self.lend).decode(payload)
        if kind == frames.THREW:
            raise _exception_class(answer[0], self._space)(answer[1])
        for mine, changed in zip(args, answer[1], strict=False):
            lent_functions.take_over(mine, changed)
        return answer[0]


def _exception_class(name: str, space: Mapping[str, Any] = types.MappingProxyType({})) -> type[BaseException]:
    """The class of exceptions of that name: one of `space`, or a builtin one."""
    for kind in (space.get(name), getattr(builtins, name, None)):
        if isinstance(kind, type) and issubclass(kind, BaseException):
            return kind
    return Exception


_CONSTANT = (int, str, float, bool, type(None), bytes)
_BINARY = (
    "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift",
    "rshift", "iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul", "iand", "ior", "ixor", "ilshift",
    "irshift",
)  # fmt: skip
_UNARY = ("abs", "neg", "pos", "invert", "index")
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "getattr": getattr, "setattr": setattr, "delattr": delattr, "getitem": operator.getitem, "setitem": operator.setitem,
    "delitem": operator.delitem, "len": len, "iter": iter, "reversed": reversed, "next": next, "truth": bool, "str": str,
    "repr": repr, "format": format, "int": int, "float": float, "complex": complex, "round": round, "isinstance": isinstance,
    "issubclass": issubclass, "class": lambda o: type(o),
    "enter": lambda o: type(o).__enter__(o),
    "exit": lambda o, name, text: _leave(o, name, text),
    "identity": lambda o: _is_plain(type(o)),
    "aenter": lambda o: _run_coroutine(type(o).__aenter__(o)),
    "aexit": lambda o, name, text: _run_coroutine(_leave(o, name, text, "__aexit__")),
    "aiter": lambda o: type(o).__aiter__(o), "anext": lambda o: _run_coroutine(type(o).__anext__(o)),
    "copy": copy.copy, "deepcopy": copy.deepcopy, "bytes": bytes, "dir": dir, "divmod": divmod, "fspath": os.fspath,
    "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc,
    "seed": random.seed, "setrecursionlimit": sys.setrecursionlimit,
    **{name: getattr(operator, name) for name in (*_BINARY, *_UNARY)},
}  # fmt: skip


def _is_plain(kind: Any) -> bool:
    plain: Any = object
    return bool(kind.__eq__ is plain.__eq__)


def _leave(manager: Any, name: str, text: str, method: str = "__exit__") -> Any:
    """Leaves a ``with`` block of the test, which raised an exception of that name, or none."""
    leave = getattr(type(manager), method)
    if not name:
        return leave(manager, None, None, None)
    kind = _exception_class(name)
    return leave(manager, kind, kind(text), None)


@functools.cache
def _loop() -> Any:
    """One for all that a test awaits: what belongs to a loop, a lock say, outlives one call."""
    import asyncio

    return asyncio.new_event_loop()


def _run_coroutine(awaitable: Any) -> Any:
    async def wait() -> Any:
        return await awaitable

    return _loop().run_until_complete(wait())


def _kind(space: dict[str, Any], name: str) -> str | list[str]:
    """What a name of the program is: ``""`` (nothing), function, async, value; of a class of exceptions, its builtin bases."""
    if name not in space:
        return ""
    value = space[name]
    if isinstance(value, type) and issubclass(value, Exception):
        return [kind.__name__ for kind in value.__mro__ if kind.__module__ == "builtins" and kind is not object]
    if getattr(getattr(value, "__code__", None), "co_flags", 0) & 0x80:  # CO_COROUTINE
        return "async"
    return "function" if callable(value) else "value"


class Server:
    """A program, as the checker asks for it: one frame in, one frame out. Made before the fork: what is there costs a child
    nothing."""

    def __init__(self) -> None:
        # Its functions are wanted, as by an import: nothing under ``__name__ == "__main__"`` runs.
        self._module = new_main("program")
        self._objects = _Objects(self._reply, self._module.__dict__)
        self._encoder = codec.Encoder(self._objects.handle)
        self._decoder = codec.Decoder(self._objects.resolve, self._objects.lend)
        self._own: dict[type, str] = {}
        self._begun: dict[int, tuple[Any, ...]] = {}  # number of a coroutine → the call that it comes from

    def serve(self, sock: _socket.socket) -> None:
        """Runs the program, then answers calls until the channel closes."""
        self._objects.sock = sock
        while True:
            channel.send(sock, *self._reply(*channel.receive(sock, FRAME_LIMIT)))

    def _reply(self, kind: int, payload: bytes) -> tuple[int, bytes]:
        try:
            return self._answer(kind, payload)
        except codec.Refused as refused:
            return frames.REFUSED, str(refused)[:200].encode()
        except BaseException as error:  # the program's, whatever it is  # noqa: BLE001
            return frames.RAISED, self._describe(error)

    def _answer(self, kind: int, payload: bytes) -> tuple[int, bytes]:
        """Raises whatever the program raises."""
        space = self._module.__dict__
        if kind == frames.PROGRAM:
            return frames.READY, self._encoder.encode(self._load(*self._decoder.decode(payload)))
        if kind == frames.OPERATE:
            name, *operands = self._decoder.decode(payload)
            if name == "lookup":
                return frames.VALUE, self._encoder.encode(space[operands[0]])
            if name == "handle":
                return frames.VALUE, self._encoder.reference(self._objects.handle(space[operands[0]]))
            if name == "printed":
                return frames.VALUE, self._encoder.encode(_printed())
            if name == "refill":
                how, *where, items = operands
                lent_functions.take_over(space[where[0]] if how == "lookup" else _OPERATIONS[how](*where), items)
                return frames.VALUE, self._encoder.encode(None)
            if name == "await":
                begun = self._begun.pop(self._objects.handle(operands[0]), ("", (), {}, b""))
                return self._returned(_run_coroutine(operands[0]), *begun)
            return frames.VALUE, self._encoder.encode(_OPERATIONS[name](*operands))
        target, args, kwargs = self._decoder.decode(payload)
        function = space[target] if type(target) is str else target
        return self._called(function, target, args, kwargs, payload)

    def _load(self, code: str, imports: str, names: list[str], listen: bool) -> list[str | list[str]]:
        space = self._module.__dict__
        space["__loader__"] = Source(code)
        exec(compile_program(code), space)
        try:  # noqa: SIM105  (a context manager would touch more pages, for every program)
            exec(compile_program(imports), space) if imports else None
        except ImportError:  # the setup, which runs on the other side, says so for itself
            pass
        kinds = [_kind(space, name) for name in names]
        self._own = {space[name]: name for name, found in zip(names, kinds, strict=True) if type(found) is list}
        if listen:
            sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        return kinds

    def _called(self, function: Any, target: Any, args: Any, kwargs: Any, payload: bytes) -> tuple[int, bytes]:
        result = function(*args, **kwargs)
        if type(result) is not types.CoroutineType:
            return self._returned(result, target, args, kwargs, payload)
        number = self._objects.handle(result)
        self._begun[number] = target, args, kwargs, payload
        return frames.COROUTINE, self._encoder.reference(number)

    def _returned(self, result: Any, target: Any, args: Any, kwargs: Any, payload: bytes) -> tuple[int, bytes]:
        encoder = self._encoder
        if not kwargs and all(type(argument) in _CONSTANT for argument in args):
            return frames.VALUE, encoder.encode(result)
        # The arguments go back, since the program may have changed them; an argument returned goes back by its place.
        after = encoder.encode([target, args, kwargs])
        changed = b"" if after == payload else after
        for place, argument in enumerate(args):
            if result is argument and type(result) in _MUTABLE:
                return frames.SAME, codec.Encoder().encode([place, changed])
        value = encoder.encode(result)
        return frames.VALUE, value if not changed else _with_arguments(value, changed)

    def _describe(self, error: BaseException) -> bytes:
        number = self._objects.handle(error) if any(kind in self._own for kind in type(error).__mro__) else -1
        return describe(error, self._own, number)


_MUTABLE = (
    list,
    dict,
    set,
    bytearray,
    collections.deque,
    collections.OrderedDict,
    collections.Counter,
    collections.defaultdict,
)


def _printed() -> list[str]:
    """What the program has printed since it was last asked, where a test listens: to stdout, and to stderr."""
    texts = []
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        texts.append(stream.getvalue() if isinstance(stream, io.StringIO) else "")
        if texts[-1]:
            setattr(sys, name, io.StringIO())
    return texts


CHANGED = b"\0changed\0"


def _with_arguments(value: bytes, arguments: bytes) -> bytes:
    return CHANGED + len(value).to_bytes(8, "little") + value + arguments
