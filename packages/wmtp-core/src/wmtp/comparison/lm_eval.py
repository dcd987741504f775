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
OF_PAIRS = {"word_perplexity": "nats_per_word", "byte_perplexity": "nats_per_byte", "bits_per_byte": "bits_per_byte"}
"""Metrics of rolling log-likelihoods, of which a samples file has [log-likelihood, length]; and what is compared of them."""
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
        self.units: dict[str, str] = {}
        self.told: dict[str, None] = {}
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
            suffix = "" if filtered in ("none", "create_test") else f" ({filtered})"
            value = _per_unit(metric, row[metric])
            name = metric
            if value is not None:
                name = OF_PAIRS[metric]
                self.units[name + suffix] = name.split("_")[0]
                self.told[
                    f"{metric} has a log-likelihood and a length of each problem: compared is {name}, in which each problem "
                    "counts the same; the tool's own total weighs them by length"
                ] = None
            self._score(where, problem, name + suffix, row[metric] if value is None else value)
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

    def name_log_likelihoods(self) -> None:
        """Call them what they are: of one request's log-likelihood the harness makes a perplexity over all problems alone."""
        for name in [n for n in self.scores if n.split(" ")[0].endswith("perplexity")]:
            if min(self.scores[name].values()) <= 0:  # a perplexity is 1 at least
                metric, *filtered = name.split(" ", 1)
                own = " ".join((f"{metric}_log_likelihood", *filtered))
                self.scores = {own if n == name else n: of for n, of in self.scores.items()}
                self.told[
                    f"{name} holds each problem's log-likelihood (the tool's total is exp of minus their mean): compared is "
                    f"{own}, of which a larger value is better"
                ] = None

    def notes(self) -> Iterator[str]:
        yield UNJUDGED.format(name=self.path.name, what="scores", form=FORM)
        yield from (f"in {self.path.name}, {told}" for told in self.told)
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
        told = (
            f"; of {', '.join(file.without)} it holds what a score of all problems together is made of"
            if file.without
            else ""
        )
        raise ConfigError(f"{path}: no line has a score that is a number{told}")
    file.name_log_likelihoods()
    judged = {
        name: Judged(passed={}, problems=tuple(of), rows=file.rows, prompts=file.prompts, texts=file.texts)
        for name, of in file.scores.items()
    }
    return RunData(
        name=path.name, path=path, form=FORM,
        metrics={name: math.fsum(of.values()) / len(of) for name, of in file.scores.items()},
        owners={name: name for name in file.scores}, judged=judged, values=file.scores, units=file.units,
        notes=tuple(file.notes()),
    )  # fmt: skip


def _per_unit(metric: str, value: Any) -> float | None:
    """Nats a word or byte, or bits a byte, of a log-likelihood in nats and a length; ``None`` where there are no two."""
    if metric not in OF_PAIRS or not isinstance(value, list) or len(value) != 2:
        return None
    likelihood, length = value
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= MOST_SCORE for v in value)
    if not numbers or length <= 0:
        return None
    return float(-likelihood / length / (math.log(2) if metric == "bits_per_byte" else 1))


def _responses(row: Mapping[str, Any]) -> list[Any]:
    """What the model answered to one problem, once for each repeat; programs where a filter made them of it."""
    for name in ("resps", "filtered_resps"):
        found = row.get(name)
        if isinstance(found, list) and found and isinstance(found[0], list):
            return list(found[0])
    return []
