"""Rows that are read again by their place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wmtp.kit import RowFile


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_are_read_late_from_many_threads_while_the_file_is_still_read(form: str, tmp_path: Path) -> None:
    """The judge's threads ask for tests, and the run's own for the next row."""
    rows = [{"id": n, "text": f"{n} " * (1 + 99_971 * n % 70_000)} for n in range(40)]
    path = tmp_path / f"rows.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7)
    file = RowFile(path)
    found: list[tuple[int, Any]] = []
    with ThreadPoolExecutor(4) as threads:

        def late(place: tuple[int, int]) -> Mapping[str, Any]:
            return [file.at(place) for _ in range(10)][-1]

        for row in file.rows({"id": int}):
            found.append((row.data["id"], threads.submit(late, row.place)))
    assert [future.result() for _, future in found] == rows
    assert [number for number, _ in found] == list(range(40))
