"""CodeContests' rows, jsonl or parquet. Tests are bulky, so a row is read twice: once for its head, once when it is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_codecontests.schema import SUITES, cases, limits

BULKY = (*SUITES, "solutions", "incorrect_solutions")
COLUMNS = (
    "name", "description", "source", "difficulty", "time_limit", "memory_limit_bytes", "input_file", "output_file",
)  # fmt: skip
FILES = ("{split}.jsonl", "{split}*.parquet", "data/{split}*.parquet", "*/{split}*.parquet")
HEAD = {"name": str, "description": str}


def read(request: wmtp.DatasetRequest) -> Iterator[kit.LateRow]:
    """The rows of a split. Of parquet only the light columns are read here.

    Raises:
        ConfigError: naming file and line.
    """
    for path in kit.split_files(request, FILES, "CodeContests"):
        file = kit.RowFile(path)
        there = file.columns()
        if there and (missing := [name for name in SUITES if name not in there]):
            raise wmtp.ConfigError(f"{path} has no column {', '.join(missing)}; it has {', '.join(there)}")
        for row in file.rows(HEAD if there else {}, columns=COLUMNS):
            if not there:
                _check_tests(row.data, row.where)
            _check_limits(row.data, row.where)
            head = {name: row.data.get(name) for name in COLUMNS}
            yield kit.LateRow({**head, "digest": row.digest}, BULKY, file, row.place)


def _check_tests(row: Mapping[str, Any], where: str) -> None:
    if missing := [name for name in (*HEAD, *SUITES) if name not in row]:
        raise wmtp.ConfigError(f"{where}: missing: {', '.join(missing)} (the schema of deepmind/code_contests)")
    kit.check_fields(row, {**HEAD, **dict.fromkeys(SUITES, (dict, type(None)))}, where)
    if not any(True for _ in cases(row, where)):
        raise wmtp.ConfigError(f"{where}: it has no tests, so every program would pass")


def _check_limits(row: Mapping[str, Any], where: str) -> None:
    kit.check_file_names(row, ("input_file", "output_file"), where)
    with kit.row_faults(where, "time_limit or memory_limit_bytes"):
        limits(row)
