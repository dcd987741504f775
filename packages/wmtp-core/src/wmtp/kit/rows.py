"""Rows of a data set, out of jsonl, json and parquet; read in one go, or late and one by one."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from wmtp import json_text
from wmtp.errors import ConfigError, PluginError
from wmtp.kit.files import open_text

BATCH_ROWS = 64
SPACE = b" \t\r\n"


@attrs.frozen(kw_only=True)
class Row:
    """A row and where it stands.

    Attributes:
        where: ``"rows.jsonl, line 3"``, for messages.
        data: the row, or what was asked for of it.
        place: what `RowFile.at` finds it by.
        digest: changes when the row does. Of parquet it is made of the file's name and size, the row's number and the
            columns that were read, since the others are not.
    """

    where: str
    data: Mapping[str, Any]
    place: tuple[int, int]
    digest: str


def read_rows(
    files: Sequence[Path], fields: Mapping[str, type | tuple[type, ...]] | None = None, *, columns: Collection[str] = ()
) -> Iterator[Row]:
    """The rows of some files, one after another.

    Args:
        files: jsonl, json (one list) or parquet, each also ``.gz`` (parquet aside) and in any Unicode form.
        fields: name → type, or types, of what every row must have.
        columns: further columns of parquet files to be read; those that a file lacks are left out. Without `fields` and
            `columns`, all are read.

    Raises:
        ConfigError: naming file and line, a field that is missing or of another type, or a column that is not there.
    """
    for path in files:
        yield from RowFile(path).rows(fields or {}, columns)


class RowFile:
    """A file of rows. Opened where it is needed; a row can be read again by its place, from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parquet = path.suffix == ".parquet"
        self._file: Any = None
        self._late: Any = None
        """Of parquet: the reader that batches come from may not be asked for a row group meanwhile."""
        self._list: list[Any] | None = None
        self._lock = threading.Lock()
        """Held while the file is sought in and read."""

    def rows(self, fields: Mapping[str, type | tuple[type, ...]] = {}, columns: Collection[str] = ()) -> Iterator[Row]:
        """Every row, see `read_rows`."""
        found = self._from_parquet(fields, columns) if self._parquet else self._from_text()
        for row in found:
            check_fields(row.data, fields, row.where)
            yield row

    def columns(self) -> list[str]:
        """The columns of a parquet file; of other files nothing is known before their rows are read."""
        return list(self._open().schema_arrow.names) if self._parquet else []

    def at(self, place: tuple[int, int]) -> Mapping[str, Any]:
        """The whole row of a place, read now."""
        if self._list is not None:
            listed: Mapping[str, Any] = self._list[place[0]]
            return listed
        with self._lock:
            file = self._open()
            if self._parquet:
                group, number = place
                whole: Mapping[str, Any] = self._late.read_row_group(group).slice(number, 1).to_pylist()[0]
                return whole
            file.seek(place[0])
            line = file.readline()
        row: Mapping[str, Any] = json_text.loads_utf8(line)
        return row

    def _open(self) -> Any:
        if self._file is None:
            self._file = _parquet_file(self.path) if self._parquet else open_text(self.path)
            if self._parquet:
                self._late = _parquet_file(self.path, self._file.metadata)
        return self._file

    def _from_text(self) -> Iterator[Row]:
        file: BinaryIO = self._open()
        start = file.tell()
        first = file.read(4096).lstrip(SPACE)[:1]
        while not first and (more := file.read(4096)):
            first = more.lstrip(SPACE)[:1]
        file.seek(start)
        if first != b"[" and ".json" in self.path.suffixes:
            raise ConfigError(f"{self.path}: expected a list of rows; a file with a row a line is named .jsonl")
        yield from self._from_list(file) if first == b"[" else self._from_lines(file)

    def _from_lines(self, file: BinaryIO) -> Iterator[Row]:
        place = file.tell()
        number = 0
        while True:
            with self._lock:
                file.seek(place)
                line = file.readline()
            if not line:
                return
            number += 1
            here, place = place, place + len(line)
            if line.strip():
                where = f"{self.path}, line {number}"
                yield Row(
                    where=where,
                    data=_object(_parsed(line, where), where),
                    place=(here, 0),
                    digest=hashlib.sha256(line.rstrip(b"\r\n") + b"\n").hexdigest(),
                )

    def _from_list(self, file: BinaryIO) -> Iterator[Row]:
        self._list = _parsed(file.read(), str(self.path))
        assert self._list is not None
        for number, item in enumerate(self._list, 1):
            where = f"{self.path}, entry {number}"
            digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()
            yield Row(where=where, data=_object(item, where), place=(number - 1, 0), digest=digest)

    def _from_parquet(self, fields: Collection[str], columns: Collection[str]) -> Iterator[Row]:
        """pyarrow drops columns that it does not know without a word, so they are looked for first."""
        file = self._open()
        there = file.schema_arrow.names
        if missing := [name for name in fields if name not in there]:
            raise ConfigError(f"{self.path} has no column {', '.join(missing)}; it has {', '.join(there)}")
        wanted = [name for name in there if name in {*fields, *columns}] or there
        size = self.path.stat().st_size
        count = 0
        for group in range(file.num_row_groups):
            number = 0
            for batch in self._batches(file, group, wanted):
                for data in batch.to_pylist():
                    count += 1
                    named = json.dumps([self.path.name, size, group, number, data], default=str)
                    yield Row(
                        where=f"{self.path}, row {count}",
                        data=data,
                        place=(group, number),
                        digest=hashlib.sha256(named.encode()).hexdigest(),
                    )
                    number += 1

    def _batches(self, file: Any, group: int, wanted: Sequence[str]) -> Iterator[Any]:
        try:
            yield from file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(wanted))
        except (ValueError, OSError) as error:  # pyarrow's own errors are ValueErrors
            raise ConfigError(f"{self.path}: not readable as parquet: {error}") from None


def check_fields(row: Mapping[str, Any], fields: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    """Sees that a row has these fields, of these types. Raises ConfigError that names all that are wrong."""
    wrong = [name for name, kind in fields.items() if not isinstance(row.get(name), kind)]
    if wrong:
        raise ConfigError(f"{where}: missing or of the wrong type: {', '.join(wrong)}")


@contextmanager
def row_faults(where: str, what: str) -> Iterator[None]:
    """Tells what goes wrong in reading a row as the row's fault: a row is anybody's data, of any type.

    Args:
        where: The row's.
        what: What is read of it, for the message.

    Raises:
        ConfigError: in place of what Python raises for values of another type or form.
    """
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, SyntaxError, RecursionError, OverflowError) as error:
        raise ConfigError(f"{where}: {what}: {error}") from None


def _parsed(data: bytes, where: str) -> Any:
    try:
        return json_text.loads_utf8(data)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not valid JSON: no UTF-8 ({error.reason}) at byte {error.start}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: not valid JSON: {error}") from None


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected an object, a row of the data set")
    return value


def _parquet_file(path: Path, metadata: Any = None) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise PluginError(f"{path} is parquet, which needs: pip install pyarrow") from None
    try:
        return parquet.ParquetFile(path, metadata=metadata)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: not readable as parquet: {error}") from None
