"""Functions of a test, as a program sees them that was handed one: a function here that runs in the checker.

It has the name, the text and, where they are plain, the parameters of what it stands for, since decorators ask for them.
Standard library only.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

Call = Callable[[tuple[Any, ...], dict[str, Any]], Any]

# By how many arguments: nothing is compiled for them.
_BY_COUNT: tuple[Callable[[Call], Any], ...] = (
    lambda call: lambda: call((), {}),
    lambda call: lambda a: call((a,), {}),
    lambda call: lambda a, b: call((a, b), {}),
    lambda call: lambda a, b, c: call((a, b, c), {}),
    lambda call: lambda a, b, c, d: call((a, b, c, d), {}),
)
MOST = len(_BY_COUNT) - 1
"""Parameters of a function that shows them."""


def made(call: Call, name: str, text: str | None, parameters: list[str] | None) -> Callable[..., Any]:
    """A function that does `call` with its arguments. parameters: their names, or None if it takes any."""
    function: Any
    if parameters is None:

        def function(*args: Any, **kwargs: Any) -> Any:
            return call(args, kwargs)
    else:
        function = _BY_COUNT[len(parameters)](call)
        function.__code__ = function.__code__.replace(co_varnames=tuple(parameters))
    function.__name__ = function.__qualname__ = name
    function.__doc__, function.__module__ = text, "__main__"
    return function  # type: ignore[no-any-return]


class Stepper:
    """An iterator of the test's: its ``__next__`` runs in the checker."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(args, kwargs)

    def __iter__(self) -> Stepper:
        return self

    def __next__(self) -> Any:
        return self()


CHANGEABLE = (list, dict, set, bytearray, collections.deque)


def take_over(mine: Any, changed: Any) -> None:
    """Makes `mine`, which a function of the test was called with, what that has made of it."""
    if type(mine) is type(changed) and isinstance(mine, CHANGEABLE):
        refill(mine, changed)


def refill(mine: Any, items: Any) -> None:
    """Puts `items` in place of what `mine` holds, one of `CHANGEABLE`."""
    if isinstance(mine, (list, bytearray)):
        mine[:] = items
        return
    mine.clear()
    if isinstance(mine, dict):
        # as they are: Counter.update would add, and dict.update would leave an OrderedDict without an order
        (collections.OrderedDict if isinstance(mine, collections.OrderedDict) else dict).update(mine, items)
    else:
        mine.update(items) if isinstance(mine, set) else mine.extend(items)
