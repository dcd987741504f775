"""The programs that runs have for one problem, to look at beside one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wmtp.comparison.folders import lines as read_lines
from wmtp.errors import ConfigError


def programs(folder: Path, problem: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield (evaluator, sample, verdict) of each sample of a problem, the last line of an index winning."""
    for path in sorted((folder / "samples").glob("*.jsonl")):
        samples = {row["index"]: row for row in read_lines(path) if row.get("problem") == problem}
        verdicts: dict[int, dict[str, Any]] = {}
        judged = folder / "verdicts" / path.name
        if samples and judged.exists():
            verdicts = {row["index"]: row for row in read_lines(judged) if row.get("problem") == problem}
        for index in sorted(samples):
            yield path.stem, samples[index], verdicts.get(index, {})


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
