"""Exceptions of a program, as a test can catch them. Runs in the trusted process.

A builtin one, or one of the standard library, is raised under its own class, with its arguments where they are plain. One of
the program's own classes, where a test names that class, is raised as a local class of that name with the same builtin bases.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple


class ProgramError(Exception):
    """An exception of the program that has no name here; derives from nothing that a test would expect."""


class ProgramExit(SystemExit):
    """The program raised SystemExit inside a call, or what else is no Exception."""


class ProgramInterrupt(KeyboardInterrupt):
    """The same of KeyboardInterrupt."""


class OwnException:
    """Base of the local classes that stand for a program's own. What they hold is asked of the object on the other side."""

    origin: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self.origin is None:
            raise AttributeError(name)
        return getattr(self.origin, name)


def own_class(name: str, bases: list[Any]) -> type[Exception]:
    """A local class in place of a program's own class of exceptions."""
    found = (_builtin(base) for base in bases)
    base = next((kind for kind in found if kind is not None and issubclass(kind, Exception)), Exception)
    base = Exception if _is_silent(base) else base
    return type(name, (OwnException, base), {})


def _builtin(name: Any) -> type[BaseException] | None:
    found = getattr(builtins, name, None) if isinstance(name, str) else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _standard(name: str) -> type[Exception] | None:
    """An exception of the standard library that a test has loaded too, by ``module:Class``."""
    module, _, kind = name.partition(":")
    found = (
        getattr(sys.modules.get(module), kind, None) if module.partition(".")[0] in sys.stdlib_module_names else None
    )
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _is_silent(kind: type[BaseException]) -> bool:
    """Whether it would end a ``map``, a ``zip`` or an ``async for`` of the test's in silence, or have unittest leave out a
    test, which then has not failed."""
    return issubclass(kind, (StopIteration, StopAsyncIteration)) or kind.__module__.partition(".")[0] == "unittest"


class Raised(NamedTuple):
    """What `candidate.describe` says of an exception."""

    classes: list[str]
    name: str
    text: str
    arguments: list[Any] | None
    number: int

    @classmethod
    def read(cls, fields: Any) -> Raised | None:
        """None for what is no such description."""
        if not (isinstance(fields, list) and len(fields) == 5 and isinstance(fields[0], list)):
            return None
        classes, name, text, arguments, number = fields
        sound = len(classes) <= 50 and all(type(word) is str and len(word) <= 1000 for word in (*classes, name, text))
        sound = sound and (arguments is None or (type(arguments) is list and len(arguments) <= 10))
        return cls(*fields) if sound and type(number) is int else None

    def exception(self, names: Mapping[str, Any], origin: Any, *, steps: bool) -> BaseException:
        """The exception to raise. `names`: the program's, with its own classes; `origin`: the object itself, if it came as a
        number; `steps`: StopIteration, or StopAsyncIteration, is in its place."""
        ending = next((kind for kind in (StopIteration, StopAsyncIteration) if kind.__name__ in self.classes), None)
        if steps and ending:
            return self._made(ending)
        unnamed = ":" in "".join(self.classes[:1])  # by any test
        own = self.name if unnamed and self.name.isidentifier() else ""
        for name in self.classes:
            if name.startswith("="):
                known = names.get(name[1:])
                if isinstance(known, type) and issubclass(known, OwnException):
                    raised: Any = self._made(known)
                    raised.origin = origin
                    return raised  # type: ignore[no-any-return]
                continue
            found = _standard(name) if ":" in name else _builtin(name)
            if found is None:
                continue
            if not issubclass(found, Exception):
                return self._leaving()
            if found is Exception or _is_silent(found):
                break
            return self._made(type(own, (found,), {}) if own else found)
        return self._made(type(own, (ProgramError,), {})) if own else ProgramError(f"{self.name}: {self.text}")

    def _made(self, kind: type[Any]) -> Exception:
        """With its arguments. Those of the standard library may want others in their ``__init__``, which is left out then."""
        arguments = (self.text,) if self.arguments is None else self.arguments
        try:
            raised: Exception = kind(*arguments)
        except (TypeError, ValueError):
            bare: Any = kind
            try:
                raised = bare.__new__(bare)
            except TypeError:  # a group, whose parts do not cross
                return ProgramError(f"{self.name}: {self.text}")
            raised.args = tuple(arguments)
        return raised

    def _leaving(self) -> BaseException:
        if KeyboardInterrupt.__name__ in self.classes:
            return ProgramInterrupt(f"{self.name}: {self.text}")
        leaving = ProgramExit(f"{self.name}: {self.text}")
        leaving.code = self.arguments[0] if self.arguments else None
        return leaving
