"""How problems of competitions are put to a model: the statement, and what kind of answer is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import Any

import attrs

from wmtp.contracts.engines import Message
from wmtp.contracts.judging import CallTests, StdioCase
from wmtp.errors import ConfigError
from wmtp.kit.wanted import Wanted

MOST_CALLS = 10
READS = "Write a Python 3 program that solves the problem. Read from {source} and write to {target}."
CALLED = "Solve the problem in Python 3. Begin with this code:\n\n```python\n{}\n```"
LAST = "Answer with the whole program in one code block."


def competition_prompt(
    text: str,
    *,
    chat: bool,
    starter_code: str | None = None,
    source: str = "standard input",
    target: str = "standard output",
    last: str = LAST,
) -> str | list[Message]:
    """A problem that is answered by a function, or by a program that reads and writes.

    Args:
        text: The problem's statement.
        chat: Whether the model is asked in turns.
        starter_code: What the function's program begins with; ``None`` asks for a program that reads.
        source: What a program reads from.
        target: What it writes to.
        last: What a chat's turn ends with; ``""``: the kind of answer is said and nothing else.
    """
    asked = READS.format(source=source, target=target) if starter_code is None else CALLED.format(starter_code)
    if chat:
        return [{"role": "user", "content": f"{text}\n\n{asked} {last}" if last else f"{text}\n\n{asked}"}]
    return f"### Problem\n{text}\n\n{asked}\n\n### Python 3 solution\n"


def competition_wanted(function: str | None, lent: str = "") -> Wanted:
    """What the tests of a problem need of a program.

    Args:
        function: What they call, alone or in a class ``Solution``; ``None``: the program reads and writes.
        lent: Source of the imports that programs may use without writing them.
    """
    return Wanted(names={"Solution", function} if function else (), prompt=lent)


def function_name(found: Any) -> str | None:
    """The function that a row's tests call; ``None`` for ``None`` and an empty text. Raises ValueError for what is no name."""
    if not found:
        return None
    if not isinstance(found, str) or not found.isidentifier() or iskeyword(found):
        raise ValueError(f"no name of a function: {found!r}")
    return found


def competition_calls(function: str, calls: Iterable[tuple[str, str]], same: str, seconds: float) -> CallTests:
    """Tests of a function that a program defines, alone or in a class ``Solution``; each call is a test.

    Args:
        function: Its name.
        calls: Source of the list of arguments, and source of the answer, of every call.
        same: Source that defines ``_same(out, wanted)``. A program gets a setup's imports as well, so that it has none.
        seconds: CPU time for each of at most ten calls; further ones share it.
    """
    tests = tuple(f"assert _same(_target(*{args}), {wanted})\n" for args, wanted in calls)
    setup = f"try:\n    _target = Solution().{function}\nexcept NameError:\n    _target = {function}\n{same}"
    return CallTests(tests=tests, setup=setup, time_limit=seconds * min(len(tests), MOST_CALLS))


@attrs.frozen
class LateCases:
    """A problem's tests, read when the judge asks for them: a benchmark does not hold all of them in memory.

    Attributes:
        read: Gives (input, expected output) of each test. It is called from the judge's threads.
    """

    read: Callable[[], Iterable[tuple[str, str]]]

    def __iter__(self) -> Iterator[StdioCase]:
        return (StdioCase(input=given, expected=expected) for given, expected in self.read())


def seconds_of(limit: Any) -> float | None:
    """A limit of time in any form that rows have: a number, ``{"seconds": 2, "nanos": 500000000}`` or ``"2.5s"``.

    Returns:
        Seconds; ``None`` for ``None``.

    Raises:
        ValueError: it is none of these.
    """
    if limit is None:
        return None
    try:
        if isinstance(limit, Mapping):
            found = float(limit.get("seconds") or 0) + float(limit.get("nanos") or 0) / 1e9
        else:
            found = float(limit.removesuffix("s") if isinstance(limit, str) else limit)
    except TypeError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError(f"no limit of time: {limit!r}")
    return found


def check_file_names(row: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    """Sees that fields, where they are set, name files in a program's working directory. Raises ConfigError."""
    for name in names:
        found = row.get(name) or ""
        if not isinstance(found, str) or "/" in found or "\0" in found or found in (".", ".."):
            raise ConfigError(f"{where}: {name} must be a plain file name, not {found!r}")
