"""A signal heard for a while, and its handler put back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def heard(number: int, handler: Callable[[int, Any], object]) -> Iterator[None]:
    """Within, `handler` is called for a signal. Where we are not the main thread, signals are somebody else's."""
    try:
        before = signal.signal(number, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)
