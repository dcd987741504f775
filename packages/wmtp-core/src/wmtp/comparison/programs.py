"""The programs that runs have for one problem, to look at beside one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wmtp.errors import ConfigError
from wmtp.runs.reader import Run


def programs(folder: Path, problem: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield (evaluator, sample, verdict) of each sample of a problem, the last line of an index winning."""
    run = Run(folder)
    for evaluator in run.evaluators_with("samples"):
        samples = {row["index"]: row for row in run.rows("samples", evaluator) if row.get("problem") == problem}
        verdicts: dict[int, dict[str, Any]] = {}
        if samples:
            verdicts = {row["index"]: row for row in run.rows("verdicts", evaluator) if row.get("problem") == problem}
        for index in sorted(samples):
            yield evaluator, samples[index], verdicts.get(index, {})


def lines(runs: Sequence[Path], problem: str) -> Iterator[str]:
    """Yield every run's programs for a problem as text. Raises ConfigError where a run has none."""
    for folder in runs:
        found = list(programs(folder, problem)) if folder.is_dir() else []
        if not found:
            raise ConfigError(f"{folder} has no samples of problem {problem!r}")
        for evaluator, sample, verdict in found:
            status = verdict.get("status", "not judged")
            detail = str(verdict.get("detail", "")).strip()
            yield f"== {folder} · {evaluator} · {problem} · sample {sample['index']}: {status}" + (
                f" ({detail})" if detail else ""
            )
            yield str(sample.get("code") or "(no program in the completion)")
            yield ""
