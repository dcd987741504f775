"""What runs in the forked child: the program, and the answers to calls into it. Untrusted from the first line it runs.

Nothing here protects the verdict. Whatever the child answers is only a value; the checker, elsewhere, compares it.
Standard library only.
"""

from __future__ import annotations

import _socket
import builtins
import os
import resource
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from wmtp.judging.sandbox import lockdown
from wmtp.judging.wire import channel, codec, frames

OURS = 1 << 62  # handles from here on name functions of the checker
FRAME_LIMIT = codec.MAX_BYTES + 4096


def prepare(descriptor: int, folder: str) -> _socket.socket:
    """Own session, private cwd, and no descriptors but the channel, which is returned."""
    os.setsid()
    os.chdir(folder)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, 256)
    return _socket.socket(
        _socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor
    )  # the C type: every page touched is a fault


def limit(limits: Mapping[str, int]) -> None:
    """The limits of one program. Its memory counts from what the warm interpreter holds already (``baseline``, bytes).

    The kernel's own limit on CPU only catches what nobody watches, processes that a program starts: it counts ticks of the
    clock, which on a busy machine run ahead of the CPU that a process got.
    """
    cpu = backstop(limits["cpu"])
    lockdown.limit_program(cpu=cpu, memory=(limits["memory_mib"] << 20) + limits["baseline"])


def backstop(cpu: int) -> int:
    return cpu + 1 + cpu // 2


def new_main(name: str) -> types.ModuleType:
    """A fresh module for the program, which is ``__main__`` to whoever asks, so that classes it defines find their module."""
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    module.__dict__["__file__"] = "program.py"
    sys.modules[name] = sys.modules["__main__"] = module
    return module


def compile_program(code: str) -> types.CodeType:
    return compile(code.removeprefix("\ufeff"), "<program>", "exec", dont_inherit=True)


def describe(error: BaseException) -> bytes:
    """An exception as names of its builtin bases, nearest first, its own name, and its text cut short."""
    bases = [k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins" and k is not object]
    try:
        text = str(error)[:300]
    except BaseException:  # its __str__ is the program's  # noqa: BLE001
        text = ""
    return codec.Encoder().encode([bases, type(error).__name__[:100], text])


class _Objects:
    """Objects of the program that the checker knows by number, and functions of the checker's that the program may call."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}  # one number an object, so that the checker can tell the same from another

    def handle(self, value: Any) -> int:
        if type(value) is _Callback:
            return value.number
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)  # kept alive, so its id stays its own
        return number

    def resolve(self, number: int) -> Any:
        return _Callback(self, number) if number >= OURS else self._objects[number]

    def call_back(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        channel.send(self._sock, frames.CALLBACK, codec.Encoder(self.handle).encode([number, list(args), kwargs]))
        kind, payload = channel.receive(self._sock, FRAME_LIMIT)
        answer = codec.Decoder(self.resolve).decode(payload)
        if kind == frames.THREW:
            raise getattr(builtins, answer[0], Exception)(answer[1])
        return answer


class _Callback:
    """A function, or the ``__next__`` of an iterator, that a test handed over. It runs in the checker."""

    def __init__(self, objects: _Objects, number: int) -> None:
        self._objects, self.number = objects, number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._objects.call_back(self.number, args, kwargs)

    def __iter__(self) -> _Callback:
        return self

    def __next__(self) -> Any:
        return self()


_CONSTANT = (int, str, float, bool, type(None), bytes)
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "getattr": lambda o, name: getattr(o, name),
    "setattr": lambda o, name, value: setattr(o, name, value),
    "getitem": lambda o, key: o[key],
    "setitem": lambda o, key, value: o.__setitem__(key, value),
    "len": len,
    "iter": iter,
    "next": next,
    "truth": bool,
    "call": lambda o, args, kwargs: o(*args, **kwargs),
}


def _kind(space: dict[str, Any], name: str) -> str:
    return "" if name not in space else "function" if callable(space[name]) else "value"


def serve(sock: _socket.socket) -> None:
    """Runs the program, then answers calls until the channel closes."""
    # Its functions are wanted, as by an import: nothing under ``__name__ == "__main__"`` runs.
    module = new_main("program")
    objects = _Objects(sock)
    encoder, decoder = codec.Encoder(objects.handle), codec.Decoder(objects.resolve)
    space = module.__dict__

    def answer(kind: int, payload: bytes) -> tuple[int, bytes]:
        if kind == frames.PROGRAM:
            code, imports, names = decoder.decode(payload)
            exec(compile_program(code), space)
            exec(compile_program(imports), space)
            return frames.READY, encoder.encode([_kind(space, name) for name in names])
        if kind == frames.OPERATE:
            name, *operands = decoder.decode(payload)
            if name == "lookup":
                return frames.VALUE, encoder.encode(space[operands[0]])
            if name == "handle":
                return frames.VALUE, encoder.reference(objects.handle(space[operands[0]]))
            return frames.VALUE, encoder.encode(_OPERATIONS[name](*operands))
        name, args, kwargs = decoder.decode(payload)
        result = space[name](*args, **kwargs)
        if not kwargs and all(type(argument) in _CONSTANT for argument in args):
            return frames.VALUE, encoder.encode(result)
        # The arguments go back, since the program may have changed them; an argument returned goes back by its place.
        after = encoder.encode([name, args, kwargs])
        changed = b"" if after == payload else after
        for place, argument in enumerate(args):
            if result is argument and type(result) in (list, dict, set, bytearray):
                return frames.SAME, codec.Encoder().encode([place, changed])
        return frames.VALUE, encoder.encode(result) if not changed else _with_arguments(encoder.encode(result), changed)

    while True:
        kind, payload = channel.receive(sock, FRAME_LIMIT)
        try:
            reply = answer(kind, payload)
        except codec.Refused as refused:
            reply = frames.REFUSED, str(refused)[:200].encode()
        except BaseException as error:  # the program's, whatever it is  # noqa: BLE001
            reply = frames.RAISED, describe(error)
        channel.send(sock, *reply)


CHANGED = b"\0changed\0"


def _with_arguments(value: bytes, arguments: bytes) -> bytes:
    return CHANGED + len(value).to_bytes(8, "little") + value + arguments


def peak_mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024
