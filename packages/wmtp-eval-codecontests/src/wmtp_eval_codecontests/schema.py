"""The numbers of the hub's ``deepmind/code_contests`` schema."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

import wmtp
from wmtp import kit


class Language(IntEnum):
    """``solutions.language``, as far as it matters here."""

    UNKNOWN = 0
    PYTHON3 = 3


BY_NAME = {text: language for language in Language for text in (language.name, str(language.value))}
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
    """(language, source) of every solution; languages are numbers, or names as exports have them."""
    listed = row.get(field) or {}
    if not isinstance(listed, Mapping):
        raise wmtp.ConfigError(f"problem {row['name']}: {field} is no {{language: […], solution: […]}}")
    for language, source in zip(listed.get("language") or (), listed.get("solution") or (), strict=False):
        yield BY_NAME.get(str(language).upper(), Language.UNKNOWN), source


def limits(row: Mapping[str, Any]) -> tuple[float | None, int]:
    """The problem's own limits: seconds, or ``None``, and MiB, or 0. Raises TypeError or ValueError for what is none."""
    return kit.seconds_of(row.get("time_limit")), math.ceil(int(row.get("memory_limit_bytes") or 0) / 2**20)
