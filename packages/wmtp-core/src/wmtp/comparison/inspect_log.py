"""Logs of inspect: a ZIP archive of one file a sample and epoch (``.eval``), or one JSON object (``.json``)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wmtp import json_text
from wmtp.comparison.archive import members
from wmtp.comparison.directions import lower_is_better
from wmtp.comparison.records import MOST_SCORE, UNJUDGED, Judged, RunData
from wmtp.errors import ConfigError

LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}  # correct, incorrect, partial, no answer
WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}  # in any case, as inspect's value_to_float has it
LIMITS = ("max_tokens", "stop_seqs", "reasoning_tokens")  # of model_generate_config; more are in config, named …_limit


def read_archive(path: Path) -> RunData:
    """Read an ``.eval`` log. Raises ConfigError where it is none, is cut short, or its evaluation did not succeed."""
    header: dict[str, Any] = {}
    samples: list[dict[str, Any]] = []
    for name, data in members(path, ("header.json", "samples/")):
        if name == "header.json":
            header = _object(path, name, data)
        else:
            samples.append(_slim(_object(path, name, data)))
    if not header and any(True for _ in members(path, "_journal/")):
        raise ConfigError(
            f"{path}: a log of inspect's without its header: the evaluation is still going, or was killed. Compare when it has "
            "finished"
        )
    if not header and not samples:
        raise ConfigError(f"{path}: a ZIP archive that is no log of inspect's: it holds no samples")
    return _read(path, header, samples)


def read_json_log(path: Path, log: Mapping[str, Any]) -> RunData:
    """Read a ``.json`` log, which is here already. Raises ConfigError as `read_archive` does."""
    samples = log.get("samples")
    if not isinstance(samples, list):
        raise ConfigError(
            f"{path}: a log of inspect's without samples, as from --no-log-samples: nothing can be paired"
        )
    if not all(isinstance(sample, dict) for sample in samples):
        raise ConfigError(f"{path}: a sample in it is no object, so it is none of inspect's")
    return _read(path, log, [_slim(sample) for sample in samples])


def _object(path: Path, name: str, data: bytes) -> dict[str, Any]:
    try:
        found = json_text.loads_utf8(data, unique=True)
    except ValueError as error:
        raise ConfigError(f"{path}: member {name} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: member {name} is no object")
    return found


def _slim(sample: dict[str, Any]) -> dict[str, Any]:
    """What a comparison needs of a sample; events and messages are most of a log."""
    kept = {name: sample.get(name) for name in ("id", "epoch", "scores", "error", "input", "target")}
    return {**kept, "text": _answer(sample.get("output"))}


def _answer(output: Any) -> int | None:
    """Hash of what the model wrote; ``None`` where it is not there."""
    if not isinstance(output, dict):
        return None
    choices = output.get("choices")
    messages = [c.get("message") for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    written = [m.get("content") for m in messages if isinstance(m, dict)]
    return hash(json.dumps(written)) if any(written) else None


def _read(path: Path, header: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]) -> RunData:
    spec = header.get("eval") or {}
    if not isinstance(spec, dict):
        raise ConfigError(f"{path}: a log of inspect's whose header does not say what was evaluated")
    if header.get("status", "success") != "success":
        raise ConfigError(
            f"{path}: the evaluation did not end well (status {header.get('status')!r}), so its samples are not all there. "
            "Finish it (inspect eval-retry), and compare then"
        )
    found: dict[str, dict[str, dict[int, float]]] = {}
    rows: dict[str, str] = {}
    prompts: dict[str, str] = {}
    texts: dict[str, dict[int, int]] = {}
    seen: set[tuple[str, int]] = set()
    failed = 0
    for sample in samples:
        problem, epoch = _key(path, sample)
        if (problem, epoch) in seen:
            raise ConfigError(f"{path}: sample {problem!r} of epoch {epoch} is there twice")
        seen.add((problem, epoch))
        if sample["text"] is not None:
            texts.setdefault(problem, {})[epoch] = sample["text"]
        rows[problem], prompts[problem] = _digest(sample["target"]), _digest(_asked(sample["input"]))
        failed += bool(sample["error"])
        for scorer, value in _scores(path, sample["scores"]):
            found.setdefault(scorer, {}).setdefault(problem, {})[epoch] = value
    count, results = len(seen), header.get("results")
    expected = results.get("total_samples") if isinstance(results, dict) else None
    if isinstance(expected, int) and expected != count:
        raise ConfigError(f"{path}: its header counts {expected} samples and it holds {count}: the log is not whole")
    if not found:
        raise ConfigError(f"{path}: no sample in it has a score that is a number or a grade")
    keys = dict(_keys(spec)) if spec else {}
    notes = [UNJUDGED.format(name=path.name, what="scores", form="inspect"), *_notes(path, header, count, failed)]
    for scorer, of in found.items():
        scored = sum(map(len, of.values()))
        if scored < count:
            notes.append(
                f"in {path.name}, {count - scored} of {count} samples have no score by {scorer}: they are left out"
            )
    return _run(
        path,
        found,
        Judged(passed={}, keys=keys, rows=rows, prompts=prompts, texts=texts),
        str(spec.get("model", "")),
        notes,
    )


def _key(path: Path, sample: Mapping[str, Any]) -> tuple[str, int]:
    problem, epoch = sample["id"], sample["epoch"]
    named = (isinstance(problem, str) and problem) or (isinstance(problem, int) and not isinstance(problem, bool))
    if not named or isinstance(epoch, bool) or not isinstance(epoch, int):
        raise ConfigError(f"{path}: a sample without id and epoch, which is none of inspect's")
    return str(problem), epoch


def _run(
    path: Path, found: Mapping[str, dict[str, dict[int, float]]], shared: Judged, model: str, notes: Iterable[str]
) -> RunData:
    """Passes where every value is 0 or 1 and 1 is the better one, else means over epochs."""
    judged, values, owners, metrics = {}, {}, {}, {}
    for scorer, of in found.items():
        means = {problem: math.fsum(epochs.values()) / len(epochs) for problem, epochs in of.items()}
        binary = not lower_is_better(scorer, "") and all(
            value in (0.0, 1.0) for epochs in of.values() for value in epochs.values()
        )
        metric = f"{scorer}_pass@1" if binary else scorer
        passed = {p: {e: v == 1.0 for e, v in epochs.items()} for p, epochs in of.items()} if binary else {}
        if not binary:
            values[metric] = means
        judged[scorer] = Judged(
            passed=passed,
            problems=tuple(of),
            keys=shared.keys,
            rows=shared.rows,
            prompts=shared.prompts,
            texts=shared.texts,
        )
        owners[metric], metrics[metric] = scorer, sum(means.values()) / len(means)
    return RunData(
        name=path.name, path=path, form="inspect", owners=owners, judged=judged, values=values, metrics=metrics,
        model=model, notes=tuple(notes),
    )  # fmt: skip


def alike(runs: Sequence[RunData]) -> list[RunData]:
    """The runs, in which no scorer's values are passes in one log of inspect's and scores in another.

    Which they are is told by the values that happened to be there: one partial grade makes a scorer's values scores.
    """
    scored: dict[str, str] = {}  # scorer → a log in which its values are scores
    for run in runs:
        if run.form == "inspect":
            scored |= {who: run.name for who, of in run.judged.items() if not of.passed and who not in scored}
    return [_as_scores(run, scored) if run.form == "inspect" else run for run in runs]


def _as_scores(run: RunData, scored: Mapping[str, str]) -> RunData:
    turned = {f"{who}_pass@1": who for who, of in run.judged.items() if of.passed and who in scored}
    judged, values = dict(run.judged), dict(run.values)
    for who in turned.values():
        passed = judged[who].passed
        values[who] = {problem: sum(of.values()) / len(of) for problem, of in passed.items()}
        judged[who] = attrs.evolve(judged[who], passed={}, problems=tuple(passed))
    notes = [
        f"{who} has partial grades or fractions in {scored[who]}, and none in {run.name}: it is compared as scores (C is 1, "
        "P 0.5, I and N 0)"
        for who in turned.values()
    ]
    return attrs.evolve(
        run, judged=judged, values=values, notes=(*run.notes, *notes),
        owners={turned.get(metric, metric): who for metric, who in run.owners.items()},
        metrics={turned.get(metric, metric): value for metric, value in run.metrics.items()},
    )  # fmt: skip


def _notes(path: Path, header: Mapping[str, Any], count: int, failed: int) -> Iterator[str]:
    if "status" not in header:
        yield f"{path.name} does not say whether its evaluation came to an end, nor what was evaluated"
    if failed:
        yield f"in {path.name}, {failed} of {count} samples ended with an error"
    if header.get("invalidated"):
        yield f"{path.name} was marked invalid by whoever made it"


def _keys(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What decides prompts and scores, by name; the model and its temperature are what a comparison may be about."""
    yield "task", spec.get("task")
    yield "task version", spec.get("task_version")
    config, generate, arguments, packages = (
        found if isinstance(found := spec.get(name), dict) else {}
        for name in ("config", "model_generate_config", "task_args", "packages")
    )
    for name in sorted(k for k in config if k.endswith("_limit")):
        yield f"limit {name}", config[name]
    for name in LIMITS:
        if name in generate:
            yield f"limit {name}", generate[name]
    for name in sorted(set(generate) & {"system_message"}):
        yield f"prompt {name}", generate[name]
    for name, value in sorted(arguments.items()):
        yield f"task argument {name}", value
    scorers = spec.get("scorers")
    for scorer in scorers if isinstance(scorers, list) else ():
        if isinstance(scorer, dict):
            yield f"scorer {scorer.get('name')}", json.dumps(scorer.get("options") or {}, sort_keys=True)
    for package, version in sorted(packages.items()):
        yield f"judge {package}", version


def _scores(path: Path, scores: Any) -> Iterator[tuple[str, float]]:
    for scorer, score in scores.items() if isinstance(scores, dict) else ():
        value = score.get("value") if isinstance(score, dict) else score
        # A scorer of several values: each is a score of its own.
        several = value.items() if isinstance(value, dict) else ()
        for name, one in ((scorer, value), *((f"{scorer}.{key}", inner) for key, inner in several)):
            if isinstance(one, str):
                one = _number(one)
            if isinstance(one, int | float) and one == one:  # NaN is inspect's mark of a sample that was not scored
                if not -MOST_SCORE <= one <= MOST_SCORE:
                    raise ConfigError(f"{path}: a score of {name} is too large for a score")
                yield name, float(one)


def _number(text: str) -> float | None:
    """What inspect takes a score's text for: a grade, yes or no, or a number that is written out; else ``None``."""
    known = LETTERS.get(text, WORDS.get(text.lower()))
    if known is not None:
        return known
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _asked(value: Any) -> Any:
    """A sample's input without the ids that inspect gives turns, which are drawn anew each time."""
    if isinstance(value, list):
        return [{k: v for k, v in turn.items() if k != "id"} if isinstance(turn, dict) else turn for turn in value]
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass")).hexdigest()
