"""MBPP's rows: jsonl (full), json (sanitized), parquet (the hub's)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import wmtp

SPLITS = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}
WHOLE = ("mbpp.jsonl", "sanitized-mbpp.json", "mbpp.json")  # files that hold every split, by id

LISTS = ("test_list", "challenge_test_list", "test_imports")


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """The rows of a split in the order of the file. Raises ConfigError naming file and line."""
    if request.split not in SPLITS:
        raise wmtp.ConfigError(f"mbpp has no split {request.split!r}; it has {', '.join(SPLITS)}")
    first, last = SPLITS[request.split]
    for path in _files(request.fetch().path, request.split):
        for row in _rows(path):
            if first <= row["task_id"] <= last:
                yield row


def _files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path]
    for pattern in (
        f"{split}.jsonl",
        f"{split}.json",
        f"{split}*.parquet",
        *WHOLE,
        f"full/{split}*.parquet",
        f"sanitized/{split}*.parquet",
    ):
        if found := sorted(path.glob(pattern)):
            return found
    raise wmtp.ConfigError(
        f"{path} holds no MBPP data: expected {split}.jsonl, {split}.json, {split}*.parquet or {WHOLE[0]}"
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        yield from (checked(row, f"{path}, row {i}") for i, row in enumerate(_parquet(path), 1))
    elif path.suffix == ".json":
        try:
            rows = json.loads(path.read_bytes())
        except ValueError as error:
            raise wmtp.ConfigError(f"{path}: not valid JSON: {error}") from None
        if not isinstance(rows, list):
            raise wmtp.ConfigError(f"{path}: expected a list of problems")
        yield from (checked(row, f"{path}, entry {i}") for i, row in enumerate(rows, 1))
    else:
        with path.open("rb") as lines:  # decoded line by line, so that a wrong byte is told with its line
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except ValueError as error:
                        raise wmtp.ConfigError(f"{path}, line {number}: not valid JSON: {error}") from None
                    yield checked(row, f"{path}, line {number}")


def _parquet(path: Path) -> Iterable[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise wmtp.PluginError(f'{path} is parquet, which needs: pip install "wmtp-eval-mbpp[parquet]"') from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches(64):
            yield from batch.to_pylist()
    except (ValueError, OSError) as error:  # pyarrow's own errors are ValueErrors
        raise wmtp.ConfigError(f"{path}: not readable as parquet: {error}") from None


def checked(given: Any, where: str) -> dict[str, Any]:
    """A row in one form: the sanitized ``prompt`` is ``text``, ``test_imports`` go into the setup."""
    if not isinstance(given, dict):
        raise wmtp.ConfigError(f"{where}: expected an object with MBPP's fields")
    row: dict[str, Any] = dict(given)
    row.setdefault("text", row.get("prompt"))
    wrong = [
        name
        for name, kind in (("task_id", int), ("text", str), ("code", str), ("test_list", list))
        if not isinstance(row.get(name), kind)
    ]
    wrong += [name for name in LISTS if not _texts(row.get(name) or [])]
    if wrong:
        raise wmtp.ConfigError(f"{where}: missing or of the wrong type: {', '.join(dict.fromkeys(wrong))}")
    setup = [*(row.get("test_imports") or ()), row.get("test_setup_code") or ""]
    row["test_setup_code"] = "\n".join(part for part in setup if part)
    row["challenge_test_list"] = list(row.get("challenge_test_list") or ())
    return row


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
