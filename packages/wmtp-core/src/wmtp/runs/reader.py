"""`open_run`: what is in a run folder, for whoever wants to look at it. Nothing is written, and nobody is kept waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from wmtp import json_text
from wmtp.contracts.engines import SampleKey
from wmtp.contracts.evaluation import Sample, Verdict
from wmtp.contracts.runs import RunRecord
from wmtp.errors import ConfigError
from wmtp.runs.folder import is_held, read_object
from wmtp.runs.lines import SAMPLES, VERDICTS, LineFormat, json_lines, read_lines
from wmtp.runs.record import from_json
from wmtp.runs.tables import DETAILS

R = TypeVar("R", Sample, Verdict)
InMemory = Callable[[str, str], Iterator[dict[str, Any]] | None]
"""(kind, evaluator) → its lines, or ``None`` where they are to be read."""
State = Literal["running", "unfinished", "damaged", "incomplete", "complete"]
_MARKS = ("results.json", "keys.json", "recipe.yaml")


class Run:
    """A run folder, finished or not.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, folder: Path, in_memory: InMemory = lambda kind, evaluator: None) -> None:
        """in_memory: what `rows` has of this process, which has just written them, instead of reading them."""
        self.folder, self._in_memory = folder, in_memory

    def __repr__(self) -> str:
        return f"open_run({str(self.folder)!r})"

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @cached_property
    def record(self) -> RunRecord | None:
        """What results.json says; ``None`` while the run has not come to an end. Raises ConfigError where it is damaged."""
        found = read_object(self.folder / "results.json")
        return None if found is None else from_json(found, str(self.folder / "results.json"))

    @cached_property
    def keys(self) -> Mapping[str, Mapping[str, Any]]:
        """``generation`` and ``judge`` → evaluator → what samples and verdicts were made with."""
        return read_object(self.folder / "keys.json") or {}

    @property
    def config(self) -> Mapping[str, Any]:
        """config.yaml as plain data, as the last session had it; empty for a run without a record."""
        return self.record.config if self.record else {}

    @property
    def recipe(self) -> Mapping[str, Any]:
        """recipe.yaml as plain data; empty for a run without a record."""
        return self.record.recipe if self.record else {}

    @property
    def evaluators(self) -> tuple[str, ...]:
        """Those that have samples, verdicts or values here."""
        paths = (path for kind in ("samples", "verdicts", "values") for path in (self.folder / kind).glob("*.jsonl"))
        return tuple(sorted({path.stem for path in paths if path.stat().st_size}))

    def samples(self, evaluator: str) -> Iterator[Sample]:
        """Samples in the order of (problem, index). Raises ConfigError naming the line that is damaged."""
        return self._last("samples", evaluator, SAMPLES)

    def verdicts(self, evaluator: str) -> Iterator[Verdict]:
        """The verdict of each sample that counts, the last one written, in the order of (problem, index)."""
        return self._last("verdicts", evaluator, VERDICTS)

    def values(self, evaluator: str) -> dict[str, dict[str, float]]:
        """Metric → problem → value: what each metric of the record is the mean of."""
        found: dict[str, dict[str, float]] = {}
        for row in _rows(self.folder / "values" / f"{evaluator}.jsonl"):
            for metric, value in row["values"].items():
                found.setdefault(metric, {})[row["problem"]] = value
        return found

    def prompts(self, evaluator: str) -> dict[str, str | list[dict[str, str]]]:
        """Problem → what the model was given: text, or the turns of a chat. Empty for samples that were written elsewhere."""
        return {row["problem"]: row["prompt"] for row in _rows(self.folder / "prompts" / f"{evaluator}.jsonl")}

    def failing_tests(self, evaluator: str) -> dict[str, dict[int, str]]:
        """Problem → number → text of each test that a program of this run failed; long ones are cut."""
        rows = _rows(self.folder / "tests" / f"{evaluator}.jsonl")
        return {row["problem"]: {int(number): text for number, text in row["tests"].items()} for row in rows}

    @property
    def details(self) -> dict[str, list[str]]:
        """Evaluator → what it has to say beside its metrics, as lines of Markdown (`EvaluationResult.report`)."""
        files = sorted((self.folder / DETAILS).glob("*.md"))
        return {
            file.stem: file.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")
            for file in files
        }

    def rows(self, kind: str, evaluator: str) -> Iterator[dict[str, Any]]:
        """The lines of ``samples``, ``verdicts``, ``values`` or ``prompts`` as plain objects, in the file's order.

        For who reads many and needs few fields: no record is made of them, and where a sample has several lines all are here.
        Raises ConfigError naming the line that is damaged or cut off.
        """
        if (kept := self._in_memory(kind, evaluator)) is not None:
            return kept
        path = self.folder / kind / f"{evaluator}.jsonl"
        return json_lines(path) if path.exists() else iter(())

    def evaluators_with(self, kind: str) -> tuple[str, ...]:
        """Those that have lines of this kind here."""
        return tuple(sorted(p.stem for p in (self.folder / kind).glob("*.jsonl") if p.stat().st_size))

    @property
    def held(self) -> bool:
        """Whether a process is working in it."""
        return is_held(self.folder)

    @cached_property
    def faults(self) -> tuple[str, ...]:
        """What of it is damaged or lost, a sentence each; empty where all is there that its record counts. Reads all lines."""
        from wmtp.runs.health import faults

        return faults(self)

    def check_whole(self) -> None:
        """Raise ConfigError where there are `faults`."""
        if not self.faults:
            return
        from wmtp.runs.health import FRESH

        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        not_whole = "the run is not whole, or was changed since"
        if by_hand := next((fault for fault in self.faults if FRESH in fault), None):
            raise ConfigError(f"{not_whole}{more}: {by_hand}")
        raise ConfigError(f"{self.faults[0].rstrip('.')}{more}: {not_whole}. Run the command that made it again")

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """What a finished run lacks, a sentence each: values, verdicts that could not be reached, evaluators that failed."""
        from wmtp.runs.health import missing

        return () if self.faults or self.record is None else missing(self, self.record)

    @property
    def state(self) -> State:
        """``running``: a process works in it; ``damaged``: `faults` says how; ``unfinished``: no results yet; ``incomplete``:
        `missing` says what it lacks; else ``complete``."""
        if self.held:
            return "running"
        if not (self.folder / "results.json").exists():
            return "unfinished"
        if self.faults:
            return "damaged"
        return "incomplete" if self.missing else "complete"

    def _last(self, kind: str, evaluator: str, format: LineFormat[R]) -> Iterator[R]:
        path = self.folder / kind / f"{evaluator}.jsonl"
        if not path.exists():
            return
        offsets: dict[SampleKey, int] = {}
        torn = (
            self.held or not (self.folder / "results.json").exists()
        )  # what a finished run has lost is not passed over
        for offset, record in read_lines(path, format, torn=torn):
            offsets[record.key] = offset
        with path.open("rb") as file:
            for key in sorted(offsets):
                file.seek(offsets[key])
                yield format.from_line(file.readline())


def open_run(folder: Path | str) -> Run:
    """Open a run folder to read.

    Args:
        folder: ``runs/<name>``.

    Returns:
        Its record, samples, verdicts, per-problem values, prompts and keys; each is read when it is asked for.

    Raises:
        ConfigError: There is no run in this folder.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"{path}: no such run folder")
    if not any((path / name).is_file() for name in _MARKS):
        raise ConfigError(f"{path} is no run folder: it holds none of {', '.join(_MARKS)}")
    return Run(path)


def list_runs(folder: Path | str) -> list[Run]:
    """The runs in a folder of run folders, by name; what is no run is left out."""
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder of runs")
    return [
        Run(entry) for entry in sorted(path.iterdir()) if entry.is_dir() and any((entry / n).is_file() for n in _MARKS)
    ]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row: dict[str, Any] = json_text.loads_utf8(line)
                _ = row["problem"]
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{path}, line {number}: damaged: {error!r}. The same command writes it anew."
                ) from None
            yield row


__all__ = ["Run", "list_runs", "open_run"]
