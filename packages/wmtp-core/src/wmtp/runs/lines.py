"""The lines of a run folder: samples and verdicts, one record a line, flat.

A file is only ever appended to, whole lines in one write, so that a killed process loses at most the lines it was writing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

from wmtp import json_text
from wmtp.contracts.engines import SampleKey
from wmtp.contracts.evaluation import LINE_SCHEMA, Sample, Verdict
from wmtp.contracts.judging import Outcome
from wmtp.errors import ConfigError

R = TypeVar("R")
_KEY = tuple(a.name for a in attrs.fields(SampleKey))
_OUTCOME = tuple(a.name for a in attrs.fields(Outcome) if a.name != "failed_tests")
_TAIL_BYTES = 65536
_LINE_BYTES = 4096  # that most lines have less than
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@attrs.frozen
class LineFormat(Generic[R]):
    """How one kind of record becomes a line and a line a record.

    Attributes:
        required: The fields of every line.
        optional: Fields that a line may have.
        to_row: Record → the line's object, its fields in order.
        from_row: A line's object, its fields checked → record.
    """

    required: frozenset[str]
    optional: frozenset[str]
    to_row: Callable[[R], dict[str, Any]]
    from_row: Callable[[dict[str, Any]], R]

    def to_line(self, record: R) -> bytes:
        """The line, with its newline."""
        return (_encode(self.to_row(record)) + "\n").encode("utf-8", "surrogatepass")

    def from_line(self, line: bytes) -> R:
        """The record of a line.

        Raises:
            ValueError: The line is no JSON object of these fields, or a field cannot be what it says.
            TypeError: A field is of another type.
        """
        row = json_text.loads_utf8(line)
        if not isinstance(row, dict) or not self.required <= set(row) <= self.required | self.optional:
            raise ValueError("its fields are not those of this version's records")
        return self.from_row(row)


def _key(row: Mapping[str, Any]) -> SampleKey:
    return SampleKey(**{name: row[name] for name in _KEY})


def _sample_row(sample: Sample) -> dict[str, Any]:
    key = sample.key
    row = {
        "schema": sample.schema, "evaluator": key.evaluator, "problem": key.problem, "index": key.index,
        "completion": sample.completion, "code": sample.code, "finish_reason": sample.finish_reason, "tokens": sample.tokens,
        "seconds": sample.seconds, "prompt_sha256": sample.prompt_sha256, "generation_key": sample.generation_key,
    }  # fmt: skip
    if sample.extra:
        row["extra"] = dict(sample.extra)
    return row


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(
        key=_key(row), schema=row["schema"], extra=row.get("extra", {}), **{name: row[name] for name in _SAMPLE}
    )


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    key, outcome = verdict.key, verdict.outcome
    row = {
        "schema": verdict.schema, "evaluator": key.evaluator, "problem": key.problem, "index": key.index,
        "code_sha256": verdict.code_sha256, "status": outcome.status, "passed": outcome.passed,
        "tests_passed": outcome.tests_passed, "tests": outcome.tests, "cpu_seconds": outcome.cpu_seconds,
        "wall_seconds": outcome.wall_seconds, "peak_mib": outcome.peak_mib, "detail": outcome.detail,
        "judge_key": verdict.judge_key,
    }  # fmt: skip
    if outcome.failed_tests:
        row["failed_tests"] = list(outcome.failed_tests)
    return row


def _verdict(row: dict[str, Any]) -> Verdict:
    outcome = Outcome(failed_tests=row.get("failed_tests", ()), **{name: row[name] for name in _OUTCOME})
    if row["passed"] is not outcome.passed:
        raise ValueError(f"status {outcome.status!r} and passed {row['passed']!r} contradict each other")
    return Verdict(
        key=_key(row),
        schema=row["schema"],
        code_sha256=row["code_sha256"],
        outcome=outcome,
        judge_key=row["judge_key"],
    )


_SAMPLE = ("completion", "code", "finish_reason", "tokens", "seconds", "prompt_sha256", "generation_key")
SAMPLES: LineFormat[Sample] = LineFormat(
    frozenset({"schema", *_KEY, *_SAMPLE}), frozenset({"extra"}), _sample_row, _sample
)
VERDICTS: LineFormat[Verdict] = LineFormat(
    frozenset({"schema", *_KEY, "code_sha256", "passed", *_OUTCOME, "judge_key"}),
    frozenset({"failed_tests"}),
    _verdict_row,
    _verdict,
)


class Lines(Generic[R]):
    """One append-only file of lines of one kind of record."""

    def __init__(self, path: Path, format: LineFormat[R]) -> None:
        self.path, self._format = path, format
        self._drop_torn_line()
        self._file = FileIO(path, "a+")
        self.size = path.stat().st_size  # the run folder is held by one process, so nobody else makes it longer

    def _drop_torn_line(self) -> None:
        """A last line without its newline is from a crash: it is cut off and done again."""
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - _TAIL_BYTES)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    file.truncate(start + newline + 1)
                    return
                end = start
            file.truncate(0)

    def empty(self) -> bool:
        return self.size == 0

    def add(self, record: R) -> None:
        """Append a record."""
        self.add_all([record])

    def add_all(self, records: Sequence[R]) -> list[int]:
        """Append records, all in one write. Returns the offsets of their lines."""
        lines, offset = [self._format.to_line(record) for record in records], self.size
        data = b"".join(lines)
        try:
            written = self._file.write(data)
            while written < len(data):  # a disk that fills up takes part of a write
                written += self._file.write(data[written:])
        except OSError as error:
            os.truncate(self.path, offset)  # leave whole lines only, so that the run can go on
            error.filename = str(self.path)
            raise
        self.size += len(data)
        return list(accumulate(map(len, lines), initial=offset))[:-1]

    def read(self) -> Iterator[tuple[int, R]]:
        """(offset in bytes, record) of every line. Raises ConfigError naming file and line where one is damaged."""
        return read_lines(self.path, self._format) if self.path.exists() else iter(())

    def at(self, offset: int) -> R:
        """The record of the line that begins there."""
        return _parse(self.path, self._format, self._line(offset), 0)

    def _line(self, offset: int) -> bytes:
        line, size = b"", _LINE_BYTES
        while b"\n" not in line and (more := os.pread(self._file.fileno(), size, offset + len(line))):
            line, size = line + more, 2 * size
        return line[: line.find(b"\n") + 1]

    def close(self) -> None:
        self._file.close()


class PlacedLines(Generic[R]):
    """Lines of samples or verdicts, and where each sample's last one stands: a later line takes an earlier one's place."""

    def __init__(
        self, lines: Lines[R], key: Callable[[R], SampleKey], *, keep_bytes: int = 0, same: Callable[[R], bool] = bool
    ) -> None:
        """Take the lines on.

        Args:
            lines: Of samples or verdicts.
            key: Which sample a record is about.
            keep_bytes: Records of so many bytes that are added are kept in memory, and need not be parsed to be had again.
            same: Whether a record is the same once it was written and parsed. Only such are kept.
        """
        self._lines, self._key, self._same = lines, key, same
        self._places: dict[str, dict[int, int]] = {}
        """Problem → index of the sample → offset."""
        self._kept: dict[int, R] = {}
        """Offset → record."""
        self._keep_before = lines.size + keep_bytes
        self._all_placed = lines.empty()

    def read(self) -> Iterator[R]:
        """Every line's record. Raises ConfigError naming file and line where one is damaged."""
        for offset, record in self._lines.read():
            self._place(record, offset)
            yield record
        self._all_placed = True

    def add(self, records: Sequence[R]) -> None:
        for record, offset in zip(records, self._lines.add_all(records), strict=True):
            self._place(record, offset)
            if offset < self._keep_before and self._same(record):
                self._kept[offset] = record

    def of_problem(self, problem: str) -> list[R]:
        """The last record of each of its samples, by index. Those that are not kept are parsed here."""
        if not self._all_placed:
            for _ in self.read():
                pass
        of = self._places.get(problem, {})
        return [self._at(of[index]) for index in sorted(of)]

    def kept(self) -> list[R] | None:
        """The last record of each sample in the file's order, where all of them are in memory; else ``None``."""
        offsets = sorted(offset for of in self._places.values() for offset in of.values())
        whole = self._all_placed and all(offset in self._kept for offset in offsets)
        return [self._kept[offset] for offset in offsets] if whole else None

    def one(self, problem: str, index: int) -> R:
        """A record that was read or added."""
        return self._at(self._places[problem][index])

    def _at(self, offset: int) -> R:
        kept = self._kept.get(offset)
        return self._lines.at(offset) if kept is None else kept

    def _place(self, record: R, offset: int) -> None:
        key = self._key(record)
        of = self._places.get(key.problem)
        if of is None:
            of = self._places[key.problem] = {}
        of[key.index] = offset


def read_lines(path: Path, format: LineFormat[R], *, torn: bool = False) -> Iterator[tuple[int, R]]:
    """(offset in bytes, record) of every line of a file.

    Args:
        path: The file.
        format: What its lines are.
        torn: Leave out a last line without its newline: somebody is writing it, or a crash tore it.

    Raises:
        ConfigError: A line is damaged; names file and line.
    """
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if torn and not line.endswith(b"\n"):
                return
            yield offset, _parse(path, format, line, number)
            offset += len(line)


def json_lines(path: Path, *, unique: bool = False) -> Iterator[dict[str, Any]]:
    """The objects of a jsonl file, as they stand; empty lines are passed over. unique: as for `wmtp.json_text.loads`.

    Raises:
        ConfigError: A line is damaged or cut off; names file and line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json_text.loads_utf8(line, unique=unique)
                if not isinstance(row, dict):
                    raise ValueError("no JSON object")
            except ValueError as error:
                unread = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
                torn = " The line is cut off: the file is not whole." if unread and not line.endswith(b"\n") else ""
                raise ConfigError(f"{path}, line {number}: damaged: {error}.{torn}") from None
            yield row


def _parse(path: Path, format: LineFormat[R], line: bytes, number: int) -> R:
    try:
        return format.from_line(line)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}, line {number}: damaged: {error}. Remove that line to have it done again, or use --fresh "
            "or another run.name."
        ) from None


__all__ = ["LINE_SCHEMA", "SAMPLES", "VERDICTS", "LineFormat", "Lines", "PlacedLines", "json_lines", "read_lines"]
