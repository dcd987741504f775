"""What a page shows of a run, read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from wmtp.comparison.folders import lines, read_results
from wmtp.errors import ConfigError


@attrs.frozen(kw_only=True)
class ReportSample:
    """One sample: its program, ``""`` where there is none, and its verdict."""

    code: str
    status: str
    detail: str
    tokens: int
    seconds: float


@attrs.define(kw_only=True)
class ReportRun:
    """One run.

    Attributes:
        name: What the page calls it.
        metrics, generation: The objects of results.json.
        samples: Problem → its samples, in the order of their index.
        prompts: Problem → prompt, where the run keeps them.
        acceptance: Share of drafts accepted, by position. acceptance_intervals: 95 % over problems of each, where known.
        recipe: The recipe as text, to copy.
    """

    name: str
    model: str
    finished: str
    metrics: Mapping[str, Mapping[str, Any]]
    generation: Mapping[str, Any]
    samples: Mapping[str, list[ReportSample]]
    prompts: Mapping[str, str] = attrs.field(factory=dict)
    acceptance: list[float] = attrs.field(factory=list)
    acceptance_intervals: list[tuple[float, float] | None] = attrs.field(factory=list)
    recipe: str = ""
    notes: tuple[str, ...] = ()


def read_run(folder: Path, *, ours: bool = False) -> ReportRun:
    """Read a finished run. Raises ConfigError where it is none, or a line is damaged. ours: this process holds its lock."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such run folder; a report is made of run folders, runs/<name>")
    results = read_results(folder, ours=ours)
    model, generation = results["provenance"].get("model", {}), results.get("generation", {})
    recipe = folder / "recipe.yaml"
    return ReportRun(
        name=folder.resolve().name,
        model=" ".join(str(model[k]) for k in ("id", "variant") if model.get(k)),
        finished=str(results.get("run", {}).get("finished", "")),
        metrics=results["metrics"],
        generation=generation,
        samples=_samples(folder),
        prompts=_prompts(folder),
        acceptance=[float(a) for a in generation.get("acceptance") or () if a is not None],
        acceptance_intervals=_intervals(generation),
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.exists() else "",
        notes=tuple(f"{who}: {note}" for who, notes in results.get("notes", {}).items() for note in notes),
    )


def _intervals(generation: Mapping[str, Any]) -> list[tuple[float, float] | None]:
    found = (generation.get("speculation") or {}).get("per_position_interval") or ()
    return [None if span is None else (float(span[0]), float(span[1])) for span in found]


def _samples(folder: Path) -> dict[str, list[ReportSample]]:
    found: dict[str, dict[int, ReportSample]] = {}
    paths = sorted((folder / "samples").glob("*.jsonl"))
    for path in paths:
        judged = folder / "verdicts" / path.name
        verdicts = {(v["problem"], v["index"]): v for v in lines(judged)} if judged.exists() else {}
        for row in lines(path):
            verdict = verdicts.get((row["problem"], row["index"]), {})
            name = row["problem"] if len(paths) == 1 else f"{path.stem} · {row['problem']}"
            found.setdefault(name, {})[row["index"]] = ReportSample(
                code=row.get("code") or "",
                status=verdict.get("status", "not judged"),
                detail=str(verdict.get("detail", "")),
                tokens=row.get("tokens", 0),
                seconds=row.get("seconds", 0.0),
            )
    return {problem: [of[i] for i in sorted(of)] for problem, of in found.items()}


def _prompts(folder: Path) -> dict[str, str]:
    """Problem → what its samples were asked with; turns of a chat one below another."""
    found: dict[str, str] = {}
    paths = sorted((folder / "prompts").glob("*.jsonl"))
    judged = len(list((folder / "samples").glob("*.jsonl")))
    for path in paths:
        for row in lines(path):
            prompt = row["prompt"]
            if not isinstance(prompt, str):
                prompt = "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in prompt)
            found[row["problem"] if judged == 1 else f"{path.stem} · {row['problem']}"] = prompt
    return found
