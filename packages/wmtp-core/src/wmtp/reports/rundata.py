"""What a page shows of a run, read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from wmtp.comparison.folders import open_finished
from wmtp.contracts.evaluation import MetricValue
from wmtp.contracts.runs import GenerationRecord
from wmtp.errors import ConfigError
from wmtp.runs.reader import Run


@attrs.frozen(kw_only=True)
class ReportSample:
    """One sample: its program, ``""`` where there is none, and its verdict.

    Attributes:
        completion: What was written, where `heads` says by whom.
        heads, characters: Who wrote each token, and how many characters it has; see ``extra.drafts`` of a sample.
    """

    code: str
    status: str
    detail: str
    tokens: int
    seconds: float
    completion: str = ""
    heads: str = ""
    characters: tuple[int, ...] = ()


@attrs.define(kw_only=True)
class ReportRun:
    """One run.

    Attributes:
        name: What the page calls it.
        metrics, generation: Of its record.
        samples: Problem → its samples, in the order of their index.
        prompts: Problem → prompt, where the run keeps them.
        acceptance: Share of drafts accepted, by position. acceptance_intervals: 95 % over problems of each, where known.
        recipe: The recipe as text, to copy.
    """

    name: str
    model: str
    finished: str
    metrics: Mapping[str, MetricValue]
    generation: GenerationRecord
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
    run, record = open_finished(folder, ours=ours)
    model = record.provenance.model
    recipe = folder / "recipe.yaml"
    return ReportRun(
        name=run.name,
        model=" ".join(str(model[k]) for k in ("id", "variant") if model.get(k)),
        finished=record.run.finished,
        metrics=record.metrics,
        generation=record.generation,
        samples=_samples(run),
        prompts=_prompts(run),
        acceptance=[a for a in record.generation.acceptance if a is not None],
        acceptance_intervals=_intervals(record.generation),
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.exists() else "",
        notes=tuple(f"{who}: {note}" for who, notes in record.notes.items() for note in notes),
    )


def _intervals(generation: GenerationRecord) -> list[tuple[float, float] | None]:
    found = generation.speculation.per_position_interval if generation.speculation else ()
    return [None if span is None else (span[0], span[1]) for span in found]


def _samples(run: Run) -> dict[str, list[ReportSample]]:
    found: dict[str, dict[int, ReportSample]] = {}
    evaluators = run.evaluators_with("samples")
    for evaluator in evaluators:
        verdicts = {(v["problem"], v["index"]): v for v in run.rows("verdicts", evaluator)}
        for row in run.rows("samples", evaluator):
            verdict = verdicts.get((row["problem"], row["index"]), {})
            name = row["problem"] if len(evaluators) == 1 else f"{evaluator} · {row['problem']}"
            found.setdefault(name, {})[row["index"]] = _sample(row, verdict)
    return {problem: [of[i] for i in sorted(of)] for problem, of in found.items()}


def _sample(row: Mapping[str, Any], verdict: Mapping[str, Any]) -> ReportSample:
    drafts = row.get("extra", {}).get("drafts") or {}
    return ReportSample(
        code=row.get("code") or "",
        status=verdict.get("status", "not judged"),
        detail=str(verdict.get("detail", "")),
        tokens=row.get("tokens", 0),
        seconds=row.get("seconds", 0.0),
        completion=row["completion"] if drafts else "",
        heads=str(drafts.get("heads", "")),
        characters=tuple(drafts.get("characters", ())),
    )


def _prompts(run: Run) -> dict[str, str]:
    """Problem → what its samples were asked with; turns of a chat one below another."""
    found: dict[str, str] = {}
    one = len(run.evaluators_with("samples")) == 1
    for evaluator in run.evaluators_with("prompts"):
        for problem, prompt in run.prompts(evaluator).items():
            if not isinstance(prompt, str):
                prompt = "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in prompt)
            found[problem if one else f"{evaluator} · {problem}"] = prompt
    return found
