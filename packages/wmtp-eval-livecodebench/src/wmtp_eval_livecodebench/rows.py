"""LiveCodeBench's rows as the hub has them: jsonl, whose private tests are compressed and read when they are needed.

The form: lcb_runner/benchmarks/code_generation.py of LiveCodeBench/LiveCodeBench.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

import wmtp
from wmtp import kit

FIELDS = dict.fromkeys(
    (
        "question_content",
        "question_id",
        "contest_date",
        "starter_code",
        "public_test_cases",
        "private_test_cases",
        "metadata",
    ),
    str,
)
FILES = ("test*.jsonl", "test*.parquet", "*/test*.parquet")
TESTS_BYTES = 1 << 30


@attrs.frozen(kw_only=True)
class Question:
    """A row without its private tests, which stay in the file.

    Attributes:
        day: When it was published, as ISO has it.
        function: What the tests call; ``None`` where they are read and printed.
    """

    id: str
    text: str
    day: str
    starter_code: str
    function: str | None
    digest: str
    file: kit.RowFile
    place: tuple[int, int]

    def tests(self) -> list[tuple[str, str]]:
        """(input, output) of the public tests, then of the private ones. Raises ConfigError that names the problem."""
        row = self.file.at(self.place)
        kind = "stdin" if self.function is None else "functional"
        with kit.row_faults(f"{self.file.path}: problem {self.id}", "its tests cannot be read"):
            listed = [*json.loads(row["public_test_cases"]), *private_tests(row["private_test_cases"])]
            if other := {test["testtype"] for test in listed} - {kind}:
                raise ValueError(f"tests of type {', '.join(sorted(other))} in a {kind} problem")
            found = [(test["input"], test["output"]) for test in listed]
            if not all(isinstance(text, str) for test in found for text in test):
                raise ValueError("an input or output that is no text")
        if not found:
            raise wmtp.ConfigError(f"{self.file.path}: problem {self.id} has no tests, so every program would pass")
        return found


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """Rows ``{"question": Question}``.

    Raises:
        ConfigError: naming file and line.
    """
    for path in kit.split_files(request, FILES, "LiveCodeBench", splits=("test",)):
        file = kit.RowFile(path)
        for row in file.rows(FIELDS):
            with kit.row_faults(row.where, "contest_date or metadata"):
                day = datetime.fromisoformat(row.data["contest_date"]).date().isoformat()
                function = kit.function_name(json.loads(row.data["metadata"] or "{}").get("func_name"))
            yield {
                "question": Question(
                    id=row.data["question_id"], text=row.data["question_content"], day=day,
                    starter_code=row.data["starter_code"], function=function, digest=row.digest, file=file, place=row.place,
                )
            }  # fmt: skip


def private_tests(text: str) -> Any:
    """Tests as JSON; or as the hub has them: JSON as a pickled text, compressed, in base64.

    Raises:
        ValueError: neither; or the pickle holds anything beside one text. Nothing is unpickled.
    """
    if text.lstrip()[:1] in ("[", "{"):
        return json.loads(text)
    return json.loads(kit.pickled_text(kit.packed_bytes(text, TESTS_BYTES)))
