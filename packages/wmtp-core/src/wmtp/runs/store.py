"""One evaluator's part of a run folder: its samples, verdicts and prompts, and what they were made with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wmtp.contracts.engines import Message
from wmtp.contracts.evaluation import Sample, Verdict
from wmtp.errors import ConfigError
from wmtp.events import Event, ProgressTotals, SampleGenerated
from wmtp.runs.folder import read_object, write_atomically
from wmtp.runs.lines import SAMPLES, VERDICTS, Lines, PlacedLines
from wmtp.runs.tables import add_prompts


def fingerprint(parts: Mapping[str, Any]) -> str:
    """A short key of what these parts say: 16 hex digits of sha256 over canonical JSON."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain_extra(sample: Sample) -> bool:
    """Whether a sample says nothing that a file would give back as something else: a tuple as a list."""
    return all(value is None or type(value) in (str, int, float, bool) for value in sample.extra.values())


class EvaluatorFiles:
    """One evaluator's part of a run directory. See `wmtp.contracts.evaluation.EvaluatorStore`."""

    def __init__(
        self,
        folder: Path,
        evaluator: str,
        *,
        generation: Callable[[], Mapping[str, Any]],
        judging: Callable[[], Mapping[str, Any]],
        emit: Callable[[Event], None] = lambda event: None,
        keep_bytes: int = 0,
    ) -> None:
        """keep_bytes: how much of what is added is kept in memory as well, for who counts it at the end."""
        self._folder, self._evaluator, self._emit = folder, evaluator, emit
        self._generation, self._judging = generation, judging
        self._keys = folder / "keys.json"
        for kind in ("samples", "verdicts"):
            (folder / kind).mkdir(exist_ok=True)
        self._samples = Lines(folder / "samples" / f"{evaluator}.jsonl", SAMPLES)
        self._verdicts = Lines(folder / "verdicts" / f"{evaluator}.jsonl", VERDICTS)
        self._placed_samples = PlacedLines(
            self._samples, lambda sample: sample.key, keep_bytes=keep_bytes, same=_plain_extra
        )
        self._placed_verdicts = PlacedLines(self._verdicts, lambda verdict: verdict.key, keep_bytes=keep_bytes)

    def samples(self) -> Iterator[Sample]:
        return self._placed_samples.read()

    def verdicts(self) -> Iterator[Verdict]:
        return self._placed_verdicts.read()

    def sample(self, problem: str, index: int) -> Sample:
        return self._placed_samples.one(problem, index)

    def add_sample(self, sample: Sample) -> None:
        self.add_samples([sample])

    def add_samples(self, samples: Sequence[Sample]) -> None:
        self._placed_samples.add(samples)
        for sample in samples:
            self._emit(SampleGenerated(sample=sample))

    def replace_sample(self, sample: Sample) -> None:
        self._placed_samples.add([sample])

    def add_verdict(self, verdict: Verdict) -> None:
        self.add_verdicts([verdict])

    def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        self._placed_verdicts.add(verdicts)

    def expect(self, total: int, *, samples: int = 0, verdicts: int = 0) -> None:
        self._emit(ProgressTotals(evaluator=self._evaluator, total=total, samples=samples, verdicts=verdicts))

    def add_prompts(self, prompts: Mapping[str, str | Sequence[Message]]) -> None:
        add_prompts(self._folder, self._evaluator, prompts)

    def by_problem(self, problems: Iterable[str]) -> Iterator[tuple[str, list[Sample], list[Verdict]]]:
        """The last line of each (problem, index) wins: a verdict that was `infrastructure` is written again."""
        for problem in problems:
            yield problem, self._placed_samples.of_problem(problem), self._placed_verdicts.of_problem(problem)

    def rows(self, kind: str) -> Iterator[dict[str, Any]] | None:
        """The lines of ``samples`` or ``verdicts`` as `wmtp.runs.reader.Run.rows` has them, less those that later ones replace,
        where all of them are in memory: those of a run that replays samples and has just ended. Else ``None``."""
        if kind == "samples" and (samples := self._placed_samples.kept()) is not None:
            return map(SAMPLES.to_row, samples)
        if kind == "verdicts" and (verdicts := self._placed_verdicts.kept()) is not None:
            return map(VERDICTS.to_row, verdicts)
        return None

    def generation_key(self, parts: Mapping[str, Any]) -> str:
        return self._key("generation", {**self._generation(), **parts})

    def judge_key(self, parts: Mapping[str, Any]) -> str:
        return self._key("judge", {**self._judging(), **parts})

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
        for lines in (self._samples, self._verdicts):
            lines.close()
            if lines.empty():  # what an evaluator stores nothing in leaves no file
                lines.path.unlink(missing_ok=True)
