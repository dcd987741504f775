"""What a run does to the interpreter's collector, and undoes behind it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = 50_000  # objects, in place of Python's 700


@contextmanager
def garbage_of_the_run(*, rarely: bool) -> Iterator[None]:
    """Within, what was there before a run, modules and libraries above all, is not looked through for garbage: a look through
    them takes as long as fifty samples, and there is one every few hundred.

    rarely: Nor is what the run keeps, for every few hundred objects more: where nothing larger than texts can be garbage.
    """
    if gc.get_freeze_count():  # whoever froze them may not want us to thaw them
        yield
        return
    collected, often = gc.isenabled(), gc.get_threshold()
    gc.freeze()
    gc.enable()
    if rarely:
        gc.set_threshold(RARELY, *often[1:])
    try:
        yield
    finally:
        gc.set_threshold(*often)
        gc.unfreeze()
        if not collected:
            gc.disable()
