"""How problems of competitions are put to a model: the statement, and what kind of answer is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs

from wmtp.contracts.engines import Message
from wmtp.contracts.judging import StdioCase

READS = "Write a Python 3 program that solves the problem. Read from standard input and write to standard output."
CALLED = "Solve the problem in Python 3. Begin with this code:\n\n```python\n{}\n```"
LAST = "Answer with the whole program in one code block."


def competition_prompt(text: str, *, starter_code: str | None, chat: bool) -> str | list[Message]:
    """A problem that is answered by a function, or by a program that reads and writes.

    Args:
        text: The problem's statement.
        starter_code: What the function's program begins with; ``None`` asks for a program that reads standard input.
        chat: Whether the model is asked in turns.
    """
    asked = READS if starter_code is None else CALLED.format(starter_code)
    if chat:
        return [{"role": "user", "content": f"{text}\n\n{asked} {LAST}"}]
    return f"### Problem\n{text}\n\n{asked}\n\n### Python 3 solution\n"


@attrs.frozen
class LateCases:
    """A problem's tests, read when the judge asks for them: a benchmark does not hold all of them in memory.

    Attributes:
        read: Gives (input, expected output) of each test. It is called from the judge's threads.
    """

    read: Callable[[], Iterable[tuple[str, str]]]

    def __iter__(self) -> Iterator[StdioCase]:
        return (StdioCase(input=given, expected=expected) for given, expected in self.read())
