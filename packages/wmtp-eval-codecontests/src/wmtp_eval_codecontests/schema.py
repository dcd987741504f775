"""The numbers of the hub's ``deepmind/code_contests`` schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

import wmtp


class Language(IntEnum):
    """``solutions.language``."""

    UNKNOWN = 0
    PYTHON2 = 1
    CPP = 2
    PYTHON3 = 3
    JAVA = 4


SUITES = ("public_tests", "private_tests", "generated_tests")
"""In the order in which they are judged."""


def cases(row: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str]]:
    """(input, expected output) of every test: public, private, then generated.

    Raises:
        ConfigError: an input without its output, or one that is no text; it names `where` and the problem.
    """
    for suite in SUITES:
        tests = row.get(suite) or {}
        given, expected = list(tests.get("input") or ()), list(tests.get("output") or ())
        if len(given) != len(expected) or not all(isinstance(text, str) for text in (*given, *expected)):
            raise wmtp.ConfigError(
                f"{where and where + ': '}problem {row['name']}: {suite} has {len(given)} inputs and {len(expected)} outputs; "
                "every input is text, and so is its output"
            )
        yield from zip(given, expected, strict=True)


def solutions(row: Mapping[str, Any], field: str = "solutions") -> Iterator[tuple[Language, str]]:
    """(language, source) of every solution."""
    listed = row.get(field) or {}
    for language, source in zip(listed.get("language") or (), listed.get("solution") or (), strict=True):
        yield Language(language), source


def seconds(row: Mapping[str, Any]) -> float | None:
    """The problem's own time limit, or ``None``."""
    limit = row.get("time_limit")
    return None if limit is None else limit["seconds"] + limit["nanos"] / 1e9
