"""HumanEval's rows as the data set ships them: jsonl (``HumanEval.jsonl``) or the hub's parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import wmtp

FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """The rows of the one split there is. Raises ConfigError naming file and line."""
    if request.split != "test":
        raise wmtp.ConfigError(f"humaneval has no split {request.split!r}; it has test")
    path = request.fetch().path
    for file in [path] if path.is_file() else _files(path):
        for where, row in _parquet(file) if file.suffix == ".parquet" else _lines(file):
            wrong = [f for f in FIELDS if not isinstance(row, dict) or not isinstance(row.get(f), str)]
            if wrong:
                raise wmtp.ConfigError(f"{file}, {where}: missing or no text: {', '.join(wrong)}")
            yield row


def _files(folder: Path) -> list[Path]:
    for pattern in ("test.jsonl", "HumanEval.jsonl", "test*.parquet", "*/test*.parquet"):
        if found := sorted(folder.glob(pattern)):
            return found
    raise wmtp.ConfigError(f"{folder} holds no HumanEval data: expected HumanEval.jsonl, test.jsonl or test*.parquet")


def _lines(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield f"line {number}", json.loads(line)
                except ValueError as error:
                    raise wmtp.ConfigError(f"{file}, line {number}: not valid JSON: {error}") from None


def _parquet(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise wmtp.PluginError(f'{file} is parquet, which needs: pip install "wmtp-eval-humaneval[parquet]"') from None
    for number, row in enumerate(parquet.read_table(file).to_pylist(), 1):
        yield f"row {number}", row
