"""MBPP's rows: jsonl (full), json (sanitized), parquet (the hub's)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit

SPLITS = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}
FILES = (
    "{split}.jsonl", "{split}.json", "{split}-*.jsonl", "{split}*.parquet",
    "mbpp.jsonl", "sanitized-mbpp.json", "mbpp.json",  # these hold every split, by id
    "full/{split}*.parquet", "sanitized/{split}*.parquet",
)  # fmt: skip
FIELDS = {"task_id": int, "code": str, "test_list": list}
COLUMNS = ("text", "prompt", "test_setup_code", "challenge_test_list", "test_imports")
LISTS = ("test_list", "challenge_test_list", "test_imports")


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """The rows of a split in the order of the file.

    Raises:
        ConfigError: naming file and line.
    """
    files = kit.split_files(request, FILES, "MBPP", splits=SPLITS)
    first, last = SPLITS[request.split]
    for row in kit.read_rows(files, FIELDS, columns=COLUMNS):
        if first <= row.data["task_id"] <= last:
            yield checked(row.data, row.where)


def checked(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A row in one form: the sanitized ``prompt`` is ``text``, ``test_imports`` go into the setup."""
    row: dict[str, Any] = dict(given)
    row.setdefault("text", row.get("prompt"))
    kit.check_fields(row, {"text": str}, where)
    wrong = [name for name in LISTS if not _texts(row.get(name) or [])]
    if wrong:
        raise wmtp.ConfigError(f"{where}: missing or of the wrong type: {', '.join(wrong)}")
    if not any(test.strip() for test in row["test_list"]):
        raise wmtp.ConfigError(f"{where}: test_list is empty, so every program would pass")
    if not kit.can_fail(row["test_list"], row["code"]):
        raise wmtp.ConfigError(f"{where}: test_list asserts nothing, so every program would pass")
    setup = [*(row.get("test_imports") or ()), row.get("test_setup_code") or ""]
    row["test_setup_code"] = "\n".join(part for part in setup if part)
    row["challenge_test_list"] = list(row.get("challenge_test_list") or ())
    return row


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
