"""HumanEval's rows as the data set ships them: jsonl (``HumanEval.jsonl.gz``) or the hub's parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit

FIELDS = dict.fromkeys(("task_id", "prompt", "entry_point", "canonical_solution", "test"), str)
FILES = ("test.jsonl", "HumanEval.jsonl", "test*.parquet", "*/test*.parquet")


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """The rows of the one split there is.

    Raises:
        ConfigError: naming file and line.
    """
    for row in kit.read_rows(kit.split_files(request, FILES, "HumanEval", splits=("test",)), FIELDS):
        if "check" not in row.data["test"]:
            raise wmtp.ConfigError(f"{row.where}: test defines no check, so every program would pass")
        if not kit.can_fail([row.data["test"]], "", {"check", "candidate", row.data["entry_point"]}):
            raise wmtp.ConfigError(f"{row.where}: test asserts nothing, so every program would pass")
        yield row.data
