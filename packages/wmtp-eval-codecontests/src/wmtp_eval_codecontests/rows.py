"""CodeContests' rows, jsonl or parquet. Tests are bulky, so a row is read twice: once for its head, once when it is judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_codecontests.schema import SUITES, cases

BULKY = (*SUITES, "solutions", "incorrect_solutions")
COLUMNS = (
    "name",
    "description",
    "source",
    "difficulty",
    "time_limit",
    "memory_limit_bytes",
    "input_file",
    "output_file",
)
HEAD = {"name": str, "description": str}
Head = dict[str, Any]


class LateRow(Mapping[str, Any]):
    """A row whose tests and solutions stay in the file until they are asked for, and are not kept afterwards."""

    def __init__(self, head: Head, file: kit.RowFile, place: tuple[int, int]) -> None:
        self._head, self._file, self._place = head, file, place

    def whole(self) -> Mapping[str, Any]:
        """The row with everything in it, read now."""
        return self._file.at(self._place)

    def __getitem__(self, key: str) -> Any:
        return self.whole().get(key) if key in BULKY else self._head[key]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._head, *BULKY))

    def __len__(self) -> int:
        return len(self._head) + len(BULKY)


def read(request: wmtp.DatasetRequest) -> Iterator[LateRow]:
    """The rows of a split.

    Raises:
        ConfigError: naming file and line.
    """
    split = request.split
    patterns = (f"{split}.jsonl", f"{split}*.parquet", f"data/{split}*.parquet", f"*/{split}*.parquet")
    for path in kit.files_of_split(request.fetch().path, patterns, f"CodeContests data for split {split!r}"):
        file = kit.RowFile(path)
        if path.suffix == ".parquet":
            yield from _from_parquet(file)
        else:
            yield from _from_text(file)


def _from_text(file: kit.RowFile) -> Iterator[LateRow]:
    for row in file.rows():
        if missing := [name for name in (*HEAD, *SUITES) if name not in row.data]:
            named = ", ".join(missing)
            raise wmtp.ConfigError(f"{row.where}: missing: {named} (the schema of deepmind/code_contests)")
        kit.check_fields(row.data, {**HEAD, **dict.fromkeys(SUITES, (dict, type(None)))}, row.where)
        if not list(cases(row.data, row.where)):
            raise wmtp.ConfigError(f"{row.where}: it has no tests, so every program would pass")
        _check_files(row.data, row.where)
        yield LateRow({**{name: row.data.get(name) for name in COLUMNS}, "digest": row.digest}, file, row.place)


def _from_parquet(file: kit.RowFile) -> Iterator[LateRow]:
    """Only the light columns are read here; a row's place is its row group and its number in it."""
    size = file.path.stat().st_size
    if missing := [name for name in SUITES if name not in file.columns()]:
        raise wmtp.ConfigError(f"{file.path} has no column {', '.join(missing)}; it has {', '.join(file.columns())}")
    for row in file.rows(HEAD, columns=COLUMNS):
        _check_files(row.data, row.where)
        head = {name: row.data.get(name) for name in COLUMNS}
        named = json.dumps([file.path.name, size, *row.place, head["name"]])
        yield LateRow({**head, "digest": hashlib.sha256(named.encode()).hexdigest()}, file, row.place)


def _check_files(row: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError for the name of a file that would not lie in the program's working directory."""
    for name in ("input_file", "output_file"):
        found = row.get(name) or ""
        if not isinstance(found, str) or "/" in found or "\0" in found or found in (".", ".."):
            raise wmtp.ConfigError(f"{where}: {name} must be a plain file name, not {found!r}")
