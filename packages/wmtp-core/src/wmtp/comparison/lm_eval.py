"""Samples files of lm-evaluation-harness: one score a problem, metric and filter."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wmtp.comparison.records import MOST_SCORE, UNJUDGED, Judged, RunData
from wmtp.errors import ConfigError

FORM = "lm-evaluation-harness"
Rows = Iterable[tuple[str, dict[str, Any]]]


class _File:
    """What the lines of a file add up to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scores: dict[str, dict[str, float]] = {}
        self.rows: dict[str, str] = {}
        self.prompts: dict[str, str] = {}
        self.texts: dict[str, dict[int, int]] = {}
        self.without: dict[str, int] = {}
        self._seen: set[tuple[str, str]] = set()

    def add(self, where: str, problem: str, row: Mapping[str, Any]) -> None:
        filtered, metrics = str(row.get("filter", "none")), row["metrics"]
        if not isinstance(metrics, list) or not all(isinstance(metric, str) for metric in metrics):
            raise ConfigError(f"{self.path}, {where}: 'metrics' is no list of names")
        if (problem, filtered) in self._seen:
            raise ConfigError(
                f"{self.path}, {where}: problem {problem} (filter {filtered}) is there a second time. Were files of several "
                "tasks or runs put together? Give them apart"
            )
        self._seen.add((problem, filtered))
        for kept, field in ((self.rows, "doc_hash"), (self.prompts, "prompt_hash")):
            if kept.setdefault(problem, str(row.get(field, ""))) != str(row.get(field, "")):
                raise ConfigError(f"{self.path}, {where}: problem {problem} has another {field} than in a line before")
        for metric in metrics:
            if metric not in row:
                raise ConfigError(f"{self.path}, {where}: it names the metric {metric!r} and has no value of it")
            name = metric if filtered in ("none", "create_test") else f"{metric} ({filtered})"
            self._score(where, problem, name, row[metric])
        self.texts[problem] = {i: hash(json.dumps(text)) for i, text in enumerate(_responses(row))}

    def _score(self, where: str, problem: str, name: str, value: Any) -> None:
        if value is None or isinstance(value, list):  # a list is what a metric of the whole corpus is made of
            self.without[name] = self.without.get(name, 0) + 1
            return
        if not isinstance(value, int | float):
            raise ConfigError(
                f"{self.path}, {where}: {name} of problem {problem} is {json.dumps(value)[:40]}, which is no number"
            )
        if not -MOST_SCORE <= value <= MOST_SCORE:
            said = "too large for a score" if value == value else "nan"
            raise ConfigError(f"{self.path}, {where}: {name} of problem {problem} is {said}")
        self.scores.setdefault(name, {})[problem] = float(value)

    def notes(self) -> Iterator[str]:
        yield UNJUDGED.format(name=self.path.name, what="scores", form=FORM)
        for name, count in self.without.items():
            if name in self.scores:
                total = count + len(self.scores[name])
                yield f"in {self.path.name}, {count} of {total} problems have no score of {name}: they are left out"
            else:
                yield f"in {self.path.name}, {name} has no score for each problem: it is not compared"


def read_lm_eval(path: Path, rows: Rows) -> RunData:
    """Read the lines of a samples file, each with what to call it and its problem checked.

    Raises:
        ConfigError: A line is none of the harness's, or no metric is a number for each problem.
    """
    file = _File(path)
    for where, row in rows:
        file.add(where, str(row["doc_id"]), row)
    if not file.scores:
        raise ConfigError(f"{path}: no line has a score that is a number")
    judged = {
        name: Judged(passed={}, problems=tuple(of), rows=file.rows, prompts=file.prompts, texts=file.texts)
        for name, of in file.scores.items()
    }
    return RunData(
        name=path.name, path=path, form=FORM,
        metrics={name: math.fsum(of.values()) / len(of) for name, of in file.scores.items()},
        owners={name: name for name in file.scores}, judged=judged, values=file.scores, notes=tuple(file.notes()),
    )  # fmt: skip


def _responses(row: Mapping[str, Any]) -> list[Any]:
    """What the model answered to one problem, once for each repeat; programs where a filter made them of it."""
    for name in ("resps", "filtered_resps"):
        found = row.get(name)
        if isinstance(found, list) and found and isinstance(found[0], list):
            return list(found[0])
    return []
