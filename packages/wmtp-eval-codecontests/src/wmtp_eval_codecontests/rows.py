"""CodeContests' rows, jsonl or parquet. Tests are bulky, so a row is read twice: once for its head, once when it is judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import wmtp
from wmtp_eval_codecontests.schema import SUITES

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
Head = dict[str, Any]


class LateRow(Mapping[str, Any]):
    """A row whose tests and solutions stay in the file until they are asked for, and are not kept afterwards."""

    def __init__(self, head: Head, path: Path, place: tuple[int, int]) -> None:
        self._head, self._path, self._place = head, path, place

    def whole(self) -> Mapping[str, Any]:
        """The row with everything in it, read now."""
        if self._path.suffix == ".parquet":
            group, row = self._place
            table = _parquet(self._path).read_row_group(group, columns=[*COLUMNS, *BULKY]).slice(row, 1)
            return table.to_pylist()[0]  # type: ignore[no-any-return]
        with self._path.open("rb") as file:
            file.seek(self._place[0])
            return json.loads(file.readline())  # type: ignore[no-any-return]

    def __getitem__(self, key: str) -> Any:
        return self.whole()[key] if key in BULKY else self._head[key]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._head, *BULKY))

    def __len__(self) -> int:
        return len(self._head) + len(BULKY)


def read(request: wmtp.DatasetRequest) -> Iterator[LateRow]:
    """The rows of a split. Raises ConfigError naming file and line."""
    for path in _files(request.fetch().path, request.split):
        yield from _from_parquet(path) if path.suffix == ".parquet" else _from_lines(path)


def _files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path]
    for pattern in (f"{split}.jsonl", f"{split}*.parquet", f"data/{split}*.parquet", f"*/{split}*.parquet"):
        if found := sorted(path.glob(pattern)):
            return found
    raise wmtp.ConfigError(f"{path} holds no CodeContests data for split {split!r}: expected {split}.jsonl or parquet")


def _from_lines(path: Path) -> Iterator[LateRow]:
    place = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            start, place = place, place + len(line)
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise wmtp.ConfigError(f"{path}, line {number}: not valid JSON: {error}") from None
            head = _head(row, f"{path}, line {number}")
            head["digest"] = hashlib.sha256(line).hexdigest()
            yield LateRow(head, path, (start, 0))


def _head(row: Any, where: str) -> Head:
    wrong = [k for k in ("name", "description", "public_tests") if not isinstance(row, dict) or k not in row]
    if wrong:
        raise wmtp.ConfigError(f"{where}: missing: {', '.join(wrong)} (the schema of deepmind/code_contests)")
    return {name: row.get(name) for name in COLUMNS}


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise wmtp.PluginError(
            f'{path} is parquet, which needs: pip install "wmtp-eval-codecontests[parquet]"'
        ) from None
    return parquet.ParquetFile(path)


def _from_parquet(path: Path) -> Iterator[LateRow]:
    """Only the light columns are read here; a row's place is its row group and its number in it."""
    file = _parquet(path)
    status = path.stat()
    for group in range(file.num_row_groups):
        for row, head in enumerate(file.read_row_group(group, columns=list(COLUMNS)).to_pylist()):
            named = json.dumps([path.name, status.st_size, group, row, head["name"]])
            yield LateRow({**head, "digest": hashlib.sha256(named.encode()).hexdigest()}, path, (group, row))
