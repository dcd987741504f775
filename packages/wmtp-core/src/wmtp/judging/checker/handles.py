"""The program's functions and objects, as a test sees them. Runs in the trusted process.

An object of the program's own classes stays with the program and is used through its number. What it answers is a value like
any other. It is never told what a test expects of it: operators work between two such objects, and not with plain data, and
its ``__eq__`` decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from wmtp.judging.checker.remote import RemoteProgram

_ASKED = (
    "__dict__", "__name__", "__qualname__", "__members__", "__wrapped__", "__annotations__", "__defaults__", "__bases__",
    "__mro__", "__code__", "__subclasses__", "__slots__", "__kwdefaults__",
)  # fmt: skip
"""Attributes with such names that tests ask for; the rest is asked for by Python itself."""


def _same_object(one: RemoteObject, other: RemoteObject) -> bool:
    return bool(object.__getattribute__(one, "_number") == object.__getattribute__(other, "_number"))


def _is_instance(instance: Any, kind: RemoteFunction | RemoteObject) -> bool:
    return isinstance(instance, RemoteObject) and instance._do("isinstance", kind) is True


class RemoteFunction:
    """A name of the program, callable from a test: a function or a class."""

    def __init__(self, program: RemoteProgram, name: str) -> None:
        self.__dict__.update(_program=program, _name=name)

    def object(self) -> RemoteObject:
        """The function itself, to hand it over as an argument or to read an attribute."""
        answer = self._program.operate("handle", self._name)
        if not isinstance(answer, RemoteObject):
            self._program.refuse("malformed answer")
        found: RemoteObject = answer
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.object(), name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._program.call(self._name, args, kwargs)

    def __mro_entries__(self, bases: Any) -> NoReturn:
        program: RemoteProgram = self._program
        program.derived()

    def __copy__(self) -> RemoteFunction:
        return self

    def __deepcopy__(self, memo: Any) -> RemoteFunction:
        return self

    def __instancecheck__(self, instance: Any) -> bool:
        return _is_instance(instance, self)

    def __subclasscheck__(self, kind: Any) -> bool:
        return isinstance(kind, RemoteFunction) and self._program.operate("issubclass", kind, self) is True

    def __iter__(self) -> Any:  # an Enum
        return iter(self.object())

    def __getitem__(self, key: Any) -> Any:
        return self.object()[key]

    def __len__(self) -> int:
        return len(self.object())

    def __bool__(self) -> bool:
        return True


class AsyncFunction(RemoteFunction):
    """An ``async def`` of the program, as asyncio knows it."""

    @property
    def _is_coroutine(self) -> Any:
        return getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)


def _between(operation: str) -> Callable[[RemoteObject, Any], Any]:
    """An operator between two objects of the program. Plain data is not handed to it: it may be what a test expects."""

    def operate(self: RemoteObject, other: Any) -> Any:
        return self._do(operation, other) if isinstance(other, RemoteObject) else NotImplemented

    return operate


def _alone(operation: str) -> Callable[[RemoteObject], Any]:
    def operate(self: RemoteObject) -> Any:
        return self._do(operation)

    return operate


class RemoteObject:
    """An object that stays in the child. Its attributes, items, methods and operators work; it is equal to itself alone."""

    __slots__ = ("_number", "_program")

    def __init__(self, program: RemoteProgram, number: int) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def _do(self, operation: str, *operands: Any) -> Any:
        program: RemoteProgram = object.__getattribute__(self, "_program")
        return program.operate(operation, self, *operands)

    def _fail(self, why: str) -> NoReturn:
        program: RemoteProgram = object.__getattribute__(self, "_program")
        program.refuse(why)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _ASKED:
            raise AttributeError(name)
        return self._do("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._do("setattr", name, value)

    def __delattr__(self, name: str) -> None:
        self._do("delattr", name)

    def __getitem__(self, key: Any) -> Any:
        return self._do("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._do("setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        self._do("delitem", key)

    def __contains__(self, item: Any) -> bool:
        # Item by item, here: its own __contains__ could say yes to anything, and would learn what is looked for.
        return any(mine is item or mine == item for mine in self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        program: RemoteProgram = object.__getattribute__(self, "_program")
        return program.call(self, args, kwargs)

    def __len__(self) -> int:
        length = self._do("len")
        if type(length) is not int or length < 0:
            self._fail("malformed length")
        return int(length)

    def __iter__(self) -> Any:
        return _RemoteIterator(self._do("iter"))

    def __reversed__(self) -> Any:
        return _RemoteIterator(self._do("reversed"))

    def __next__(self) -> Any:
        return self._do("next")

    def __bool__(self) -> bool:
        return self._do("truth") is True

    __str__, __repr__, __int__, __float__ = _alone("str"), _alone("repr"), _alone("int"), _alone("float")
    __complex__, __index__, __abs__ = _alone("complex"), _alone("index"), _alone("abs")
    __neg__, __pos__, __invert__ = _alone("neg"), _alone("pos"), _alone("invert")
    __lt__, __le__, __gt__, __ge__ = _between("lt"), _between("le"), _between("gt"), _between("ge")
    __add__, __sub__, __mul__, __matmul__ = _between("add"), _between("sub"), _between("mul"), _between("matmul")
    __truediv__, __floordiv__, __mod__ = _between("truediv"), _between("floordiv"), _between("mod")
    __pow__, __lshift__, __rshift__ = _between("pow"), _between("lshift"), _between("rshift")
    __and__, __or__, __xor__ = _between("and_"), _between("or_"), _between("xor")
    __iadd__, __isub__, __imul__, __imatmul__ = (
        _between("iadd"),
        _between("isub"),
        _between("imul"),
        _between("imatmul"),
    )
    __itruediv__, __ifloordiv__, __imod__ = _between("itruediv"), _between("ifloordiv"), _between("imod")
    __ipow__, __ilshift__, __irshift__ = _between("ipow"), _between("ilshift"), _between("irshift")
    __iand__, __ior__, __ixor__, __divmod__ = _between("iand"), _between("ior"), _between("ixor"), _between("divmod")
    __bytes__, __dir__, __fspath__, __copy__ = _alone("bytes"), _alone("dir"), _alone("fspath"), _alone("copy")
    __floor__, __ceil__, __trunc__, __aiter__ = _alone("floor"), _alone("ceil"), _alone("trunc"), _alone("aiter")

    def __deepcopy__(self, memo: Any) -> Any:
        return self._do("deepcopy")

    def __instancecheck__(self, instance: Any) -> bool:
        return _is_instance(instance, self)

    def __mro_entries__(self, bases: Any) -> NoReturn:
        program: RemoteProgram = object.__getattribute__(self, "_program")
        program.derived()

    def __await__(self) -> Any:
        program: RemoteProgram = object.__getattribute__(self, "_program")
        return program.coroutine(self).__await__()

    async def __anext__(self) -> Any:
        return self._do("anext")

    async def __aenter__(self) -> Any:
        return self._do("aenter")

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return self._leave("aexit", kind, error)

    def __format__(self, how: str) -> str:
        return str(self._do("format", how))

    def __round__(self, *digits: int) -> Any:
        return self._do("round", *digits)

    def __enter__(self) -> Any:
        return self._do("enter")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return self._leave("exit", kind, error)

    def _leave(self, how: str, kind: Any, error: Any) -> bool:
        program: RemoteProgram = object.__getattribute__(self, "_program")
        answer = self._do(how, kind.__name__ if kind else "", str(error)[:1000] if error else "")
        # What a test itself raises, a failed assertion say, no object of the program's may hold back.
        return any(error is raised for raised in program.raised) and bool(answer)

    def __eq__(self, other: object) -> bool:
        other = other.object() if isinstance(other, RemoteFunction) else other
        if not isinstance(other, RemoteObject):
            return False  # as any object without an __eq__ of its own: nothing gained by not being data
        if not _same_object(self, other) and not (self._is_plain() and other._is_plain()):
            self._fail("objects of the program's own classes that have an __eq__ cannot be compared")
        return _same_object(self, other)

    def __hash__(self) -> int:
        if not self._is_plain():
            self._fail("objects of the program's own classes that have an __eq__ cannot be hashed")
        return hash(object.__getattribute__(self, "_number"))

    def _is_plain(self) -> bool:
        """Whether its class leaves equality as it is: then it is equal to itself alone, whoever asks."""
        return self._do("identity") is True


# The text of the program's object, where a test asks for it, and not of ours.
_text: Any = property(
    lambda self: (self.object() if isinstance(self, RemoteFunction) else self)._do("getattr", "__doc__")
)
RemoteFunction.__doc__ = RemoteObject.__doc__ = _text


class _RemoteIterator:
    def __init__(self, source: Any) -> None:
        if not isinstance(source, RemoteObject):
            source = iter(source)
        self._source = source

    def __iter__(self) -> _RemoteIterator:
        return self

    def __next__(self) -> Any:
        return next(self._source)
