"""Functions of the C library that take and give numbers: no exception where one fails, and the interpreter's lock is kept.

What the zygote and a keeper of cases ask of the kernel for every program has mostly nothing to say ("nothing there", "no child
left"). Python would make an exception of that, with a text, and touch twice the pages. Standard library only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

library = ctypes.PyDLL(None)  # letting go of the lock writes pages too


def named(name: str, arguments: int) -> Callable[..., int]:
    """The function of that name, which takes so many whole numbers or addresses."""
    found = library[name]
    found.argtypes = (ctypes.c_long,) * arguments
    return found
