"""Rows that are read again by their place."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wmtp.errors import ConfigError
from wmtp.kit import RowFile, files_of_split, read_rows


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


def _tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("rows.jsonl"))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_tar(), r"is a tar archive; unpack it first \(tar xf rows.jsonl\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "is a pointer of Git LFS"),
        (b"<!DOCTYPE html>\n<html>", "is a web page"),
        (b"<html><head>", "is a web page"),
        (b"PK\x03\x04" + bytes(40), "is a zip archive; unpack it first"),
    ],
)
def test_what_is_no_file_of_rows_is_told_by_what_it_is(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        list(read_rows([path]))


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz", "rows.jsonl.zst", "rows.jsonl.xz"])
def test_a_folder_that_holds_the_data_packed_says_so(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"packed")
    with pytest.raises(
        ConfigError, match=f"holds no rows: expected rows.jsonl .*; there is {name}, which is to be unpacked"
    ):
        files_of_split(tmp_path, ("rows.jsonl",), "rows")
