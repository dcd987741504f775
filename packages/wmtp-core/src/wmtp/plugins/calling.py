"""Calls of plugins' factories. What one raises is told with the factory, its owner and what it was called for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wmtp.contracts.catalog import Registered
from wmtp.contracts.engines import Engine
from wmtp.errors import PluginError, WmtpError

CORE = "wmtp-core"


@contextmanager
def called(what: str, owned: Registered[Any]) -> Iterator[None]:
    """Names what failed. Errors that say what to do, the system's and core's own go through."""
    try:
        yield
    except (WmtpError, OSError):
        raise
    except Exception as error:
        if owned.distribution == CORE:
            raise
        raise PluginError(
            f"{what} of {owned.owner} failed: {type(error).__name__}: {error}. That is the plugin's own; --debug shows its "
            "traceback, and a run's log.txt has it."
        ) from error


def read(found: object, what: str, owned: Registered[Any]) -> Iterable[Mapping[str, Any]]:
    """Rows as a data set's plugin gave them: a list stays one, and of an iterator each row is looked at as it comes."""
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
        raise PluginError(f"{what} of {owned.owner} returned {found!r:.80}, not rows")
    if isinstance(found, list | tuple):
        for number, row in enumerate(found):
            _check(row, number, what, owned)
        return found
    return _rows(iter(found), what, owned) if isinstance(found, Iterator) else found


def _rows(rows: Iterator[Any], what: str, owned: Registered[Any]) -> Iterator[Mapping[str, Any]]:
    number = 0
    while True:
        with called(f"{what}, row {number},", owned):
            try:
                row = next(rows)
            except StopIteration:
                return
        _check(row, number, what, owned)
        yield row
        number += 1


def _check(row: object, number: int, what: str, owned: Registered[Any]) -> None:
    if not isinstance(row, Mapping):
        raise PluginError(f"{what} of {owned.owner} gave {row!r:.80} as row {number}, not a mapping")


def checked_engine(engine: object, who: str) -> Engine:
    """What a loader made, if it is an engine. Raises PluginError."""
    if isinstance(engine, Engine) and isinstance(engine.identity, Mapping):
        return engine
    raise PluginError(
        f"{who} is {engine!r:.80}: an engine has `generate`, and `identity`, a mapping of what decides samples"
    )
