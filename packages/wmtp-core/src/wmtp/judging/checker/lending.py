"""What a program is told of a function that a test hands it. Runs in the trusted process."""

from __future__ import annotations

import types
from typing import Any

from wmtp.judging.sandbox import lent_functions

_ANY = 0x0C  # CO_VARARGS, CO_VARKEYWORDS
_COROUTINE = 0x80
_LONGEST = 1000


def described(function: Any) -> list[Any] | None:
    """Its name, its text, and its parameters where they are plain (else None): what decorators ask for. None for an
    ``async def``, whose steps cannot cross."""
    name, text = getattr(function, "__name__", "function"), getattr(function, "__doc__", None)
    told = [
        name if type(name) is str and len(name) < _LONGEST else "function",
        text if type(text) is str and len(text) < _LONGEST else None,
    ]
    if type(function) is not types.FunctionType:
        return [*told, None]
    code = function.__code__
    if code.co_flags & _COROUTINE:
        return None
    any_number = code.co_flags & _ANY or code.co_kwonlyargcount or code.co_posonlyargcount or function.__defaults__
    plain = not any_number and code.co_argcount <= lent_functions.MOST
    return [*told, list(code.co_varnames[: code.co_argcount]) if plain else None]
