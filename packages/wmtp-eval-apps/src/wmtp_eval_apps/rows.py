"""APPS' rows as the hub has them: jsonl, with tests and solutions as JSON in texts. Tests are read when they are needed.

The form: the card of codeparrot/apps, and eval/testing_util.py of hendrycks/apps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

import wmtp
from wmtp import kit

FIELDS = dict.fromkeys(("question", "solutions", "input_output", "difficulty", "starter_code"), str)


@attrs.frozen(kw_only=True)
class Question:
    """A row without its tests, which stay in the file.

    Attributes:
        function: What the tests call; ``None`` where they are read and printed.
        tests: How many there are.
    """

    id: str
    text: str
    difficulty: str
    starter_code: str
    function: str | None
    solution: str | None
    tests: int
    digest: str
    file: kit.RowFile
    place: tuple[int, int]

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """(input, output) of every test: texts, or arguments and answer."""
        found = json.loads(self.file.at(self.place)["input_output"])
        for given, wanted in zip(found["inputs"], found["outputs"], strict=True):
            yield (_lines(given), _lines(wanted)) if self.function is None else (_keyed(given), _keyed(wanted))


def _lines(text: Any) -> str:
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)


def _keyed(value: Any) -> Any:
    """JSON's keys are texts; those that stand for numbers are numbers again, in a dict or the first of a list."""
    if isinstance(value, list):
        return [_keyed(value[0]), *value[1:]] if value and isinstance(value[0], dict) else value
    if isinstance(value, dict) and all(key.removeprefix("-").isdecimal() for key in value):
        return {int(key): each for key, each in value.items()}
    return value


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """Rows ``{"question": Question}``.

    Raises:
        ConfigError: naming file and line.
    """
    for path in kit.split_files(request, ("{split}.jsonl", "{split}*.parquet", "*/{split}*.parquet"), "APPS"):
        file = kit.RowFile(path)
        for row in file.rows(FIELDS, columns=("problem_id", "id")):
            number = row.data.get("problem_id", row.data.get("id"))
            with kit.row_faults(row.where, "input_output or solutions"):
                tests = json.loads(row.data["input_output"] or "{}")
                solutions = json.loads(row.data["solutions"] or "[]")
                inputs, outputs = tests.get("inputs", []), tests.get("outputs", [])
                if len(inputs) != len(outputs):
                    raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs")
                function = kit.function_name(tests.get("fn_name"))
                kit.check_fields({"solutions": next(iter(solutions), "")}, {"solutions": str}, row.where)
            if number is None:
                raise wmtp.ConfigError(f"{row.where}: missing: problem_id (or id)")
            question = Question(
                id=str(number), text=row.data["question"], difficulty=row.data["difficulty"],
                starter_code=row.data["starter_code"], function=function, tests=len(inputs),
                solution=next(iter(solutions), None), digest=row.digest, file=file, place=row.place,
            )  # fmt: skip
            yield {"question": question, "where": row.where}
