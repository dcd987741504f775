"""What an evaluation leaves in its folder once all is judged: results.json, values, details, and what reporters write."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from wmtp.contracts.catalog import Registered
from wmtp.contracts.evaluation import EvaluationResult
from wmtp.contracts.runs import RunRecord
from wmtp.contracts.specs import ReporterSpec
from wmtp.errors import ConfigError
from wmtp.evaluation.report import report
from wmtp.evaluation.results import Results
from wmtp.runs.folder import read_object, write_atomically
from wmtp.runs.reader import Run
from wmtp.runs.record import from_json
from wmtp.runs.tables import write_details, write_failing_tests, write_values

log = logging.getLogger("wmtp")
POINTED_TO = "markdown"
"""The reporter whose file is named wherever results are shown."""


def write_results(
    run: Run,
    record: RunRecord,
    parts: Mapping[str, EvaluationResult],
    *,
    reporters: Mapping[str, Registered[ReporterSpec]],
    limit: int | None,
    finished: Callable[[Results], None],
) -> Results:
    """Write a run's results. Those over fewer problems than the folder's complete ones have go beside these.

    Args:
        run: The run folder, with what is in memory of its lines.
        record: What results.json is to hold.
        parts: Evaluator → what it answered.
        reporters: Who shows the run.
        limit: ``eval.limit``.
        finished: Called once numbers and report.md are there. A page with every sample takes longer to make, and who waits for
            a number need not wait for it.
    """
    folder = run.folder
    part = _part_of_what_is_there(folder, limit)
    results = Results(folder, record)
    text = json.dumps(results.to_json(), indent=1, ensure_ascii=False)
    write_atomically(folder / f"results{part}.json", text + "\n")
    if part:  # a look, beside results that stay: it is told in text, and nothing of theirs is touched
        details = {who: of.report for who, of in parts.items()}
        write_atomically(folder / f"report{part}.md", report(record, details))
        finished(results)
        return results
    for who, of in parts.items():
        if of.values:
            write_values(folder, who, of.values)
        write_failing_tests(folder, who, of.failing_tests)
        write_details(folder, who, of.report)
    _report(run, [owned for name, owned in reporters.items() if name == POINTED_TO])
    finished(results)
    _report(run, [owned for name, owned in reporters.items() if name != POINTED_TO])
    return results


def _report(run: Run, reporters: Iterable[Registered[ReporterSpec]]) -> None:
    """Every reporter's form of the run. One that fails costs the run nothing: its numbers are on disk already."""
    for owned in reporters:
        try:
            owned.spec.write(run.folder, run)
        except Exception as error:  # noqa: BLE001  (a plugin may raise anything)
            log.warning("the report %r (%s) was not written: %s", owned.spec.name, owned.distribution, error)


def _part_of_what_is_there(folder: Path, limit: int | None) -> str:
    """``.limit-N`` where ``eval.limit`` leaves out problems that the folder's complete results have: those stay."""
    there = _results_there(folder)
    if limit is None or there is None:
        return ""
    before = there.recipe.get("eval", {}).get("limit")
    if not there.complete or (before is not None and before <= limit):
        return ""
    log.warning(
        "the results of %s are over %s problems, and stay; those over %d are in results.limit-%d.json",
        folder, "all" if before is None else f"the first {before}", limit, limit,
    )  # fmt: skip
    return f".limit-{limit}"


def _results_there(folder: Path) -> RunRecord | None:
    """What results.json says. One that is damaged is put aside: it is made of what lies beside it, and is made again."""
    path = folder / "results.json"
    try:
        found = read_object(path)
        return None if found is None else from_json(found, str(path))
    except ConfigError as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        log.warning("%s\nIt is put aside as %s, and made anew of the samples and verdicts.", error.args[0], aside.name)
        return None
