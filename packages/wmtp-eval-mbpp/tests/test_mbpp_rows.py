"""MBPP's rows in every form they come in, and what is said about a damaged file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp_eval_mbpp.rows import read

FULL = {
    "task_id": 11,
    "text": "Write a function.",
    "code": "def f():\r\n    return 1",
    "test_list": ["assert f() == 1"],
    "test_setup_code": "import math",
    "challenge_test_list": ["assert f() != 2"],
}
SANITIZED = {
    "source_file": "Benchmark.ipynb",
    "task_id": 11,
    "prompt": "Write a function.",
    "code": "def f():\r\n    return 1",
    "test_imports": ["import math"],
    "test_list": ["assert f() == 1"],
}


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[Any]]:
    def load(split: str = "test", path: Path | None = None) -> list[Any]:
        fetch = lambda patterns=None: wmtp.Resource(path or tmp_path, "local")  # noqa: E731
        return list(read(wmtp.DatasetRequest(dataset="mbpp", split=split, fetch=fetch)))

    return load


def _jsonl(path: Path, *given: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")


def _parquet(path: Path, *given: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(list(given)), path)


def test_all_forms_give_the_same_row(tmp_path: Path, rows: Callable[..., list[Any]]) -> None:
    _jsonl(tmp_path / "a" / "mbpp.jsonl", FULL)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "sanitized-mbpp.json").write_text(json.dumps([SANITIZED]))
    _parquet(tmp_path / "c" / "test-00000-of-00001.parquet", FULL)
    _parquet(tmp_path / "d" / "sanitized" / "test-00000-of-00001.parquet", SANITIZED)
    fields = ("task_id", "text", "code", "test_list", "test_setup_code")
    found = [rows(path=tmp_path / folder) for folder in "abcd"]
    assert all(len(one) == 1 for one in found)
    assert len({json.dumps([one[0][field] for field in fields]) for one in found}) == 1
    assert [one[0]["challenge_test_list"] for one in found] == [["assert f() != 2"], [], ["assert f() != 2"], []]


def test_a_clone_of_the_hubs_repository_gives_the_full_set(tmp_path: Path, rows: Callable[..., list[Any]]) -> None:
    _parquet(tmp_path / "full" / "test-00000-of-00001.parquet", FULL, {**FULL, "task_id": 12})
    _parquet(tmp_path / "sanitized" / "test-00000-of-00001.parquet", SANITIZED)
    assert [row["task_id"] for row in rows()] == [11, 12]


@pytest.mark.parametrize(
    ("split", "ids"), [("prompt", [1, 10]), ("test", [11, 510]), ("validation", [511, 600]), ("train", [601, 974])]
)
def test_splits_go_by_id(tmp_path: Path, rows: Callable[..., list[Any]], split: str, ids: list[int]) -> None:
    _jsonl(tmp_path / "mbpp.jsonl", *({**FULL, "task_id": i} for i in (1, 10, 11, 510, 511, 600, 601, 974)))
    assert [row["task_id"] for row in rows(split)] == ids


def test_a_file_of_a_split_goes_first(tmp_path: Path, rows: Callable[..., list[Any]]) -> None:
    _jsonl(tmp_path / "mbpp.jsonl", FULL)
    _jsonl(tmp_path / "test.jsonl", {**FULL, "task_id": 12})
    assert [row["task_id"] for row in rows()] == [12]
    assert [row["task_id"] for row in rows(path=tmp_path / "mbpp.jsonl")] == [11]


LINE = json.dumps(FULL).encode() + b"\n"
DAMAGED = {
    "a line cut off": ("mbpp.jsonl", LINE + LINE[:40] + b"\n", "mbpp.jsonl, line 2: not valid JSON"),
    "a byte that is no UTF-8": ("mbpp.jsonl", LINE + b'{"text": "\xff"}\n', "mbpp.jsonl, line 2: not valid JSON"),
    "no object": ("mbpp.jsonl", LINE + b"\n17\n", "mbpp.jsonl, line 3: expected an object"),
    "no tests": ("mbpp.jsonl", json.dumps({**FULL, "test_list": None}).encode(), "line 1: missing or of the wrong type"),
    "tests that are no text": ("mbpp.jsonl", json.dumps({**FULL, "test_list": [1]}).encode(), "test_list"),
    "an id that is no number": ("mbpp.jsonl", json.dumps({**FULL, "task_id": "11"}).encode(), "task_id"),
    "no JSON": ("sanitized-mbpp.json", b"[{", "sanitized-mbpp.json: not valid JSON"),
    "no list": ("sanitized-mbpp.json", b"{}", "sanitized-mbpp.json: expected a list"),
    "no parquet": ("test-0.parquet", b"PAR1 or not", "test-0.parquet: not readable as parquet"),
    "nothing of MBPP": ("readme.txt", b"", "holds no MBPP data"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_told(tmp_path: Path, rows: Callable[..., list[Any]], name: str) -> None:
    file, data, message = DAMAGED[name]
    (tmp_path / file).write_bytes(data)
    with pytest.raises(wmtp.ConfigError) as refused:
        rows()
    assert message in str(refused.value)


def test_an_unknown_split_is_told(rows: Callable[..., list[Any]]) -> None:
    with pytest.raises(wmtp.ConfigError, match="no split 'dev'; it has prompt, test, validation, train"):
        rows("dev")


def test_a_byte_order_mark_is_no_harm(tmp_path: Path, rows: Callable[..., list[Any]]) -> None:
    (tmp_path / "mbpp.jsonl").write_bytes(b"\xef\xbb\xbf" + LINE)
    assert [row["task_id"] for row in rows()] == [11]


def test_the_real_files(shared: Path, rows: Callable[..., list[Any]]) -> None:
    folder = shared / "data" / "mbpp"
    counts = {split: len(rows(split, folder / "mbpp.jsonl")) for split in ("prompt", "test", "validation", "train")}
    assert counts == {"prompt": 10, "test": 500, "validation": 90, "train": 374}
    sanitized = {split: rows(split, folder / "sanitized-mbpp.json") for split in counts}
    assert sum(map(len, sanitized.values())) == 427
    assert all(row["text"] and row["test_list"] for found in sanitized.values() for row in found)
    assert len(rows("test", folder)) == 500, "in the folder of both, the full set is meant"
