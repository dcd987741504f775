"""What a page shows of a run: of a run's folder, or of a file of another tool."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wmtp.comparison.folders import open_finished
from wmtp.comparison.foreign import read_file
from wmtp.comparison.inspect_log import alike
from wmtp.comparison.records import RunData
from wmtp.comparison.texts import Texts, read_texts
from wmtp.contracts.evaluation import MetricValue
from wmtp.contracts.runs import GenerationRecord, RunRecord
from wmtp.errors import ConfigError
from wmtp.runs.health import missing
from wmtp.runs.reader import Run
from wmtp.runs.record import command, model_name
from wmtp.runs.tables import failed_tests
from wmtp.statistics.intervals import mean_interval

JUDGED = ("status", "detail", "tests_passed", "tests", "failed", "judged")
NOT_JUDGED = ("not judged", "", 0, 0, (), None)
NO_PROGRAMS = "{name} holds scores alone: there are no programs to look at"
BY = "{name}: where this page says that a sample passed, that is by {by}"


@attrs.frozen(kw_only=True)
class ReportSample:
    """One sample: its program, ``""`` where there is none, and its verdict.

    Attributes:
        index: Which of its problem's samples: those of one index are shown side by side.
        tests_passed, tests: Of its program, where they were counted.
        failed: Numbers of the tests that it failed, as far as they are known.
        cut: Whether it ended at the limit of tokens. judged: CPU seconds of its judging.
        completion: What was written, where `heads` says by whom or no program is in it.
        heads, characters: Who wrote each token, and how many characters it has; see ``extra.drafts`` of a sample.
    """

    index: int
    code: str
    status: str
    detail: str
    tokens: int
    seconds: float
    tests_passed: int = 0
    tests: int = 0
    failed: tuple[int, ...] = ()
    cut: bool = False
    judged: float | None = None
    completion: str = ""
    heads: str = ""
    characters: tuple[int, ...] = ()


@attrs.define(kw_only=True)
class ReportRun:
    """One run.

    Attributes:
        name: What the page calls it.
        metrics, generation: Of its record; a file of another tool has no `generation`.
        samples: Problem → its samples, in the order of their index.
        values: Metric → problem → value.
        prompts: Problem → prompt, where the run keeps them.
        tests: Problem → number → text of each test that a program failed.
        said: Evaluator → what it says beside its metrics, as lines of Markdown.
        facts: What it was made with, (what, value). texts: the same as texts to copy, (what, text).
        lacks: What the run still lacks. notes: what else people must know.
        programs: False where there are scores alone. form: ``run``, or the tool whose file it is.
    """

    name: str
    model: str
    finished: str
    metrics: Mapping[str, MetricValue]
    generation: GenerationRecord | None = None
    samples: Mapping[str, list[ReportSample]]
    values: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict)
    prompts: Mapping[str, str] = attrs.field(factory=dict)
    tests: Mapping[str, Mapping[int, str]] = attrs.field(factory=dict)
    said: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    facts: Sequence[tuple[str, str]] = ()
    texts: Sequence[tuple[str, str]] = ()
    lacks: Sequence[str] = ()
    notes: Sequence[str] = ()
    programs: bool = True
    form: str = "run"


def read_runs(paths: Sequence[Path], *, ours: Run | None = None) -> list[ReportRun]:
    """Read finished runs and files of other tools, problems named alike in all of them.

    Raises ConfigError where one is none, or is not whole. ours: the one run, which this process has just finished and holds.
    """
    opened = [_open(path, ours=ours) for path in paths]
    evaluators = {who for one in opened if not isinstance(one, RunData) for who in _with_problems(one[0])}
    alone = len(evaluators) < 2
    shown = iter(alike([one for one in opened if isinstance(one, RunData)]))  # as they are compared
    return [
        _of_file(next(shown), read_texts(one))
        if isinstance(one, RunData)
        else _of_folder(*one, alone=alone, ours=one[0] is ours)
        for one in opened
    ]


def _open(path: Path, *, ours: Run | None) -> RunData | tuple[Run, RunRecord]:
    if not path.exists():
        raise ConfigError(f"{path}: there is no such run folder or file; a report is made of run folders, runs/<name>")
    if not path.is_dir():
        return read_file(path)
    return open_finished(path, ours=ours)


def _with_problems(run: Run) -> set[str]:
    return {who for kind in ("samples", "values") for who in run.evaluators_with(kind)}


def _of_folder(run: Run, record: RunRecord, *, alone: bool, ours: bool) -> ReportRun:
    """alone: only one evaluator has problems, so they need not be told from those of another. ours: what lies there was just
    written by this process, and is not checked line by line."""

    def shown(evaluator: str, problem: str) -> str:
        return problem if alone else f"{evaluator} · {problem}"

    values: dict[str, dict[str, float]] = {}
    for who in run.evaluators_with("values"):
        for metric, of in run.values(who).items():
            numbers = {
                shown(who, p): float(v) for p, v in of.items() if isinstance(v, int | float) and math.isfinite(v)
            }
            values.setdefault(metric, {}).update(numbers)
    return ReportRun(
        name=run.name,
        model=model_name(record.provenance.model),
        finished=record.run.finished,
        metrics=record.metrics,
        generation=record.generation,
        samples={shown(who, p): of for who in run.evaluators_with("samples") for p, of in _samples(run, who).items()},
        values=values,
        prompts={shown(who, p): text for who in run.evaluators_with("prompts") for p, text in _prompts(run, who).items()},
        tests={shown(who, p): of for who in run.evaluators_with("tests") for p, of in run.failing_tests(who).items()},
        said=run.details,
        facts=list(_facts(record)),
        texts=[("command", command(record)), *_files(run.folder)],
        lacks=missing(run, record) if ours else run.missing,
        notes=[
            *(f"{who}: {note}" for who, notes in record.notes.items() for note in notes),
            *record.generation.notes, *record.judging.notes,
        ],
    )  # fmt: skip


def _samples(run: Run, evaluator: str) -> dict[str, list[ReportSample]]:
    verdicts: dict[str, dict[int, tuple[Any, ...]]] = {}  # and not their lines: those of many samples fill the memory
    for line in run.rows("verdicts", evaluator):
        verdicts.setdefault(line["problem"], {})[line["index"]] = _judged(line)
    found: dict[str, dict[int, ReportSample]] = {}
    for row in run.rows("samples", evaluator):
        judged = verdicts.get(row["problem"], {}).get(row["index"], NOT_JUDGED)
        found.setdefault(row["problem"], {})[row["index"]] = _sample(row, judged)
    return {problem: [of[i] for i in sorted(of)] for problem, of in found.items()}


def _judged(verdict: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a page shows of a verdict: the fields `JUDGED` of a sample."""
    return (
        sys.intern(str(verdict.get("status", NOT_JUDGED[0]))),
        str(verdict.get("detail", "")),
        int(_number(verdict, "tests_passed")),
        int(_number(verdict, "tests")),
        failed_tests(verdict),
        _number(verdict, "cpu_seconds") if "cpu_seconds" in verdict else None,
    )


def _sample(row: Mapping[str, Any], judged: tuple[Any, ...]) -> ReportSample:
    drafts = row.get("extra", {}).get("drafts")
    heads, characters = (drafts.get("heads"), drafts.get("characters")) if isinstance(drafts, dict) else ("", None)
    spans = tuple(characters) if isinstance(characters, list) and all(type(n) is int for n in characters) else ()
    drawn = isinstance(heads, str) and bool(spans)
    code, completion = row.get("code") or "", row.get("completion")
    return ReportSample(
        index=row["index"],
        code=code,
        tokens=int(_number(row, "tokens")),
        seconds=_number(row, "seconds"),
        cut=row.get("finish_reason") == "length",
        completion=completion if isinstance(completion, str) and (drawn or not code) else "",
        heads=str(heads) if drawn else "",
        characters=spans if drawn else (),
        **dict(zip(JUDGED, judged, strict=True)),
    )


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def _prompts(run: Run, evaluator: str) -> dict[str, str]:
    """Problem → what its samples were asked with; turns of a chat one below another."""
    found: dict[str, str] = {}
    for problem, prompt in run.prompts(evaluator).items():
        if not isinstance(prompt, str):
            prompt = "\n\n".join(f"[{turn.get('role')}]\n{turn.get('content')}" for turn in prompt)
        found[problem] = prompt
    return found


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    made = record.provenance
    found = [(f"model {key}", str(value)) for key, value in made.model.items() if value not in ("", None)]
    sampling = record.recipe.get("eval", {}).get("sampling", {})
    if record.generation.tokens:  # replays draw nothing
        shown = {k: v for k, v in sampling.items() if v is not None and v != {}}
        found.append(("sampling", ", ".join(f"{k} {v}" for k, v in shown.items())))
    found += [
        (f"data {name}", " ".join(str(of.get(k, "")) for k in ("source", "path", "version")).strip())
        for name, of in made.data.items()
    ]
    if record.judging.level:
        found.append(("judged at level", record.judging.level))
    found += [("plugin", f"{p.distribution} {p.version} ({p.state})") for p in made.plugins]
    return [*found, ("packages", ", ".join(f"{name} {version}" for name, version in made.packages.items()))]


def _files(folder: Path) -> list[tuple[str, str]]:
    paths = [folder / name for name in ("recipe.yaml", "config.yaml")]
    return [(path.name, path.read_text(encoding="utf-8", errors="replace")) for path in paths if path.is_file()]


def _of_file(run: RunData, texts: Texts) -> ReportRun:
    samples: dict[str, list[ReportSample]] = {}
    for one in texts.samples:
        samples.setdefault(one.problem, []).append(
            ReportSample(
                index=one.index,
                code=one.text or "",
                status=one.status,
                detail=one.detail,
                tokens=one.tokens,
                seconds=one.seconds,
            )
        )
    values = {metric: dict(_values(run, metric)) for metric in run.owners}
    keys = {key: str(value) for of in run.judged.values() for key, value in of.keys.items() if value is not None}
    notes = [*run.notes, *([] if texts.programs else [NO_PROGRAMS.format(name=run.name)])]
    return ReportRun(
        name=run.name,
        model=run.model,
        finished="",
        metrics={metric: _metric(run, metric, of) for metric, of in values.items()},
        samples=samples,
        values=values,
        prompts=texts.prompts,
        facts=[("file", str(run.path)), ("written by", run.form), *keys.items()],
        notes=[*notes, BY.format(name=run.name, by=texts.by)] if texts.by else notes,
        programs=texts.programs,
        form=run.form,
    )


def _values(run: RunData, metric: str) -> Mapping[str, float]:
    if metric in run.values:
        return run.values[metric]
    return {p: sum(of.values()) / len(of) for p, of in run.judged[run.owners[metric]].passed.items()}


def _metric(run: RunData, metric: str, values: Mapping[str, float]) -> MetricValue:
    """A metric of a file, which has no interval of its own: ours, over its problems."""
    numbers = list(values.values())
    passed = run.judged[run.owners[metric]].passed
    found = mean_interval(numbers, share=all(0 <= v <= 1 for v in numbers))
    return MetricValue(
        value=sum(numbers) / len(numbers), low=found.low if found else None,
        high=found.high if found else None, problems=len(numbers),
        samples=sum(map(len, passed.values())) or len(numbers), unit=run.units.get(metric, ""),
        method=found.method if found else "",
    )  # fmt: skip
