"""The run directory: what an evaluation produced, and what it resumes from.

``samples/<evaluator>.jsonl`` and ``verdicts/<evaluator>.jsonl`` are only ever appended to, a whole line in one write. A
killed process loses at most the line it was writing; a machine that loses power may lose the last seconds, which are done
again. ``keys.json`` says what samples and verdicts were made with.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from wmtp.contracts.evaluation import Sample, Verdict
from wmtp.errors import ConfigError
from wmtp.runs.lines import SAMPLES, VERDICTS, Lines

Event = Callable[[str, str, int], None]
"""(evaluator, ``"sample"`` | ``"verdict"`` | ``"total"``, count)."""


def fingerprint(parts: Mapping[str, Any]) -> str:
    """A short key of what these parts say: 16 hex digits of sha256 over canonical JSON."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class EvaluatorFiles:
    """One evaluator's part of a run directory. See `wmtp.contracts.evaluation.EvaluatorStore`."""

    def __init__(
        self,
        folder: Path,
        evaluator: str,
        *,
        generation: Callable[[], Mapping[str, Any]],
        judging: Mapping[str, Any],
        event: Event,
    ) -> None:
        self._evaluator, self._generation, self._judging, self._event = evaluator, generation, judging, event
        self._keys = folder / "keys.json"
        for kind in ("samples", "verdicts"):
            (folder / kind).mkdir(exist_ok=True)
        self._samples = Lines(folder / "samples" / f"{evaluator}.jsonl", SAMPLES)
        self._verdicts = Lines(folder / "verdicts" / f"{evaluator}.jsonl", VERDICTS)

    def samples(self) -> Iterator[Sample]:
        return (record for _, record in self._samples.read())

    def verdicts(self) -> Iterator[Verdict]:
        return (record for _, record in self._verdicts.read())

    def add_sample(self, sample: Sample) -> None:
        self._samples.add(sample)
        self._event(self._evaluator, "sample", 1)

    def add_verdict(self, verdict: Verdict) -> None:
        self._verdicts.add(verdict)
        self._event(self._evaluator, "verdict", 1)

    def expect(self, total: int, *, samples: int = 0, verdicts: int = 0) -> None:
        for event, count in (("total", total), ("sample", samples), ("verdict", verdicts)):
            self._event(self._evaluator, event, count)

    def by_problem(self, problems: Iterable[str]) -> Iterator[tuple[str, list[Sample], list[Verdict]]]:
        """The last line of each (problem, index) wins: a verdict that was `infrastructure` is written again."""
        offsets: dict[str, tuple[dict[int, int], dict[int, int]]] = {problem: ({}, {}) for problem in problems}
        for offset, sample in self._samples.read():
            if sample.key.problem in offsets:
                offsets[sample.key.problem][0][sample.key.index] = offset
        for offset, verdict in self._verdicts.read():
            if verdict.key.problem in offsets:
                offsets[verdict.key.problem][1][verdict.key.index] = offset
        for problem, (samples, verdicts) in offsets.items():
            yield (
                problem,
                self._samples.at(samples[i] for i in sorted(samples)),
                self._verdicts.at(verdicts[i] for i in sorted(verdicts)),
            )

    def generation_key(self, parts: Mapping[str, Any]) -> str:
        return self._key("generation", {**self._generation(), **parts})

    def judge_key(self, parts: Mapping[str, Any]) -> str:
        return self._key("judge", {**self._judging, **parts})

    def _key(self, kind: str, parts: Mapping[str, Any]) -> str:
        """Records what this run is made with, or checks that it still is. Raises ConfigError saying what changed."""
        keys = read_object(self._keys) or {}
        # What has produced no line yet binds nobody: a run that failed at its first step can be mended and started again.
        made = "samples" if kind == "generation" else "verdicts"
        empty = self._samples.empty() if kind == "generation" else self._verdicts.empty()
        stored = None if empty else keys.get(kind, {}).get(self._evaluator)
        now = json.loads(json.dumps(parts))
        if stored is not None and stored != now:
            changed = [
                f"  {name}: {stored.get(name, 'absent')} → {now.get(name, 'absent')}"
                for name in sorted(set(stored) | set(now))
                if stored.get(name) != now.get(name)
            ]
            raise ConfigError(
                f"the run directory {self._keys.parent} was made differently, and is left as it is. For "
                f"{self._evaluator}, what decides its {made} changed:\n"
                + "\n".join(changed)
                + "\nUse another run.name (--set run.name=…), or --fresh to start this one again."
                + self._score_hint(kind)
            )
        if stored is None:
            keys.setdefault(kind, {})[self._evaluator] = now
            write_atomically(self._keys, json.dumps(keys, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        return fingerprint(now)

    def _score_hint(self, kind: str) -> str:
        """Not for a run that replays samples: it is what the hint leads to."""
        judges_only = str(self._generation().get("model id", "")).startswith("samples:")
        return (
            f" To judge the samples anew, without a model: wmtp score {self._samples.path} --benchmark {self._evaluator}, "
            "with --data or --config for its data set."
            if kind == "judge" and not judges_only
            else ""
        )

    def close(self) -> None:
        self._samples.close()
        self._verdicts.close()


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the whole new one, also after a loss of power. For the holder of the lock only."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise


def read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object that `write_atomically` wrote; ``None`` if there is none. Raises ConfigError if it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        error: Exception = TypeError("not an object")
    except FileNotFoundError:
        return None
    except ValueError as wrong:
        error = wrong
    raise ConfigError(
        f"{path}: damaged: {error}. It says what the run was made with, so the run cannot go on without it. Put it back, use "
        "--fresh to start the run again, or another run.name."
    )


@contextmanager
def locked(folder: Path, *, fresh: bool) -> Iterator[Path]:
    """The run directory, made if need be and held by this process alone. ``fresh`` removes what a run made, first.

    Raises ConfigError if another process is working in it, or if something there is not a run directory.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is in the way: a run directory cannot be made there")
    folder.mkdir(parents=True, exist_ok=True)
    foreign = [name for p in folder.iterdir() if _own_name(name := p.name) not in OWN_FILES]
    if foreign and not (folder / "keys.json").exists():
        raise ConfigError(f"{folder} is no run directory (it holds {foreign[0]!r}); use another run.name")
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(f"another process is working in {folder}; wait for it, or use another run.name") from None
    try:
        if fresh:
            for entry in folder.iterdir():
                if entry.name != ".lock" and _own_name(entry.name) in OWN_FILES:  # the user's notes stay
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield folder
    finally:
        lock.release()


def _own_name(name: str) -> str:
    """The file that a temporary one, left behind by a kill, was to become."""
    return name.removesuffix(TEMPORARY)[1:] if name.endswith(TEMPORARY) else name


TEMPORARY = ".tmp"
OWN_FILES = frozenset(
    {".lock", "config.yaml", "recipe.yaml", "samples", "verdicts", "keys.json", "engine.json", "results.json",
     "report.md", "log.txt"}
)  # fmt: skip
