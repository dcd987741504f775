"""A run folder that is not whole is told as such, whatever was lost, and never shown as if it were."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from click.testing import CliRunner

import wmtp
from wmtp.cli.runs import command as runs_command
from wmtp.contracts.evaluation import MetricValue
from wmtp.contracts.runs import GenerationRecord, RunInfo, RunRecord
from wmtp.reports.html import write_report
from wmtp.runs.record import to_json

LINES = {kind: Path(kind) / "toy-v1.jsonl" for kind in ("samples", "verdicts", "values", "prompts")}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of 3 problems, 2 samples each."""
    folder = tmp_path / "runs" / "one"
    keys = [(f"task/{p}", i) for p in range(3) for i in range(2)]
    key = {"schema": 1, "evaluator": "toy-v1"}
    rows: dict[str, list[dict[str, object]]] = {
        "samples": [{**key, "problem": p, "index": i, "completion": "x", "code": "x = 1", "finish_reason": "stop", "tokens": 3,
                     "seconds": 0.1, "prompt_sha256": "p", "generation_key": "g"} for p, i in keys],
        "verdicts": [{**key, "problem": p, "index": i, "code_sha256": "c", "status": "passed", "passed": True,
                      "tests_passed": 1,
                      "tests": 1, "cpu_seconds": 0.0, "wall_seconds": 0.0, "peak_mib": 1.0, "detail": "", "judge_key": "k"}
                     for p, i in keys],
        "values": [{"problem": f"task/{p}", "values": {"toy_pass@1": 1.0}} for p in range(3)],
        "prompts": [{"problem": f"task/{p}", "prompt": "do"} for p in range(3)],
    }  # fmt: skip
    for kind, of in rows.items():
        (folder / kind).mkdir(parents=True)
        (folder / LINES[kind]).write_text("".join(json.dumps(row) + "\n" for row in of))
    metric = MetricValue(value=1.0, low=0.4, high=1.0, problems=3, samples=6)
    record = RunRecord(
        run=RunInfo(name="one"), metrics={"toy_pass@1": metric}, verdicts={"toy-v1": {"passed": 6}},
        generation=GenerationRecord(samples=6, tokens=18),
    )  # fmt: skip
    (folder / "results.json").write_text(json.dumps(to_json(record)))
    for name in ("keys.json", "engine.json"):
        (folder / name).write_text("{}")
    (folder / "recipe.yaml").write_text("eval: {}\n")
    return folder


def cut(path: Path, less: int = 9) -> None:
    path.write_bytes(path.read_bytes()[:-less])


def lose(path: Path, lines: int = 1) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-lines]))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a torn line of samples": (lambda run: cut(run / LINES["samples"]), "samples/toy-v1.jsonl, line 6: damaged"),
    "a torn line of verdicts": (lambda run: cut(run / LINES["verdicts"]), "verdicts/toy-v1.jsonl, line 6: damaged"),
    "a torn line of values": (lambda run: cut(run / LINES["values"]), "values/toy-v1.jsonl, line 3: damaged"),
    "a torn line of prompts": (lambda run: cut(run / LINES["prompts"]), "prompts/toy-v1.jsonl, line 3: damaged"),
    "lost samples": (lambda run: lose(run / LINES["samples"], 2), "counts 6 samples, and samples/ holds 4"),
    "lost verdicts": (lambda run: lose(run / LINES["verdicts"]), "verdicts/toy-v1.jsonl holds 5"),
    "no samples": (lambda run: shutil.rmtree(run / "samples"), "counts 6 samples, and samples/ holds 0"),
    "no verdicts": (lambda run: (run / LINES["verdicts"]).unlink(), "verdicts/toy-v1.jsonl holds 0"),
    "an empty file": (lambda run: (run / LINES["samples"]).write_text(""), "samples/ holds 0"),
    "results cut short": (lambda run: cut(run / "results.json", 300), "results.json: damaged"),
    "empty results": (lambda run: (run / "results.json").write_text(""), "results.json: damaged"),
    "results of another kind": (lambda run: (run / "results.json").write_text("{}"), "results.json: not the results"),
    "keys cut short": (lambda run: (run / "keys.json").write_text('{"gen'), "keys.json: damaged"),
    "zeros behind a crash": (
        lambda run: (run / LINES["samples"]).write_bytes(b"\0" * 400 + b"\n"), "samples/toy-v1.jsonl, line 1: damaged",
    ),
    "a line of something else": (
        lambda run: (run / LINES["verdicts"]).write_text('{"problem": ["a"], "index": 0}\n'), "it is none of verdicts",
    ),
    "a verdict that says two things": (
        lambda run: (run / LINES["verdicts"]).write_text(
            (run / LINES["verdicts"]).read_text().replace('"passed": true', '"passed": false')
        ), "record 1: damaged: it is none of verdicts",
    ),
    "failing tests that are no text": (
        lambda run: (
            (run / "tests").mkdir(),
            (run / "tests/toy-v1.jsonl").write_text('{"problem": "task/0", "tests": {"1": 2}}\n'),
        ), "it is none of tests",
    ),
    "no bytes of text": (lambda run: (run / LINES["values"]).write_bytes(b"\xff\xfe\n"), "values/toy-v1.jsonl, line 1"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_told_and_no_number_is_shown(run: Path, what: str) -> None:
    damage, said = DAMAGE[what]
    damage(run)
    opened = wmtp.open_run(run)
    assert opened.state == "damaged"
    assert any(said in fault for fault in opened.faults), opened.faults
    listed = CliRunner().invoke(runs_command, ["list", "--runs", str(run.parent), "--json"])
    row = json.loads(listed.output)["runs"][0]
    assert (row["state"], row["metrics"]) == ("damaged", {})
    assert said in row["error"]
    with pytest.raises(wmtp.ConfigError):
        write_report([run])
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("file", ["keys.json", "engine.json", "samples", "verdicts"])
def test_what_the_command_would_refuse_as_well_is_told_with_what_to_do(run: Path, file: str) -> None:
    """To run it again alone leads to the refusal that is said here at once."""
    path = run / LINES.get(file, Path(file))
    path.write_text('{"gen' if path.suffix == ".json" else path.read_text() + '{"x":1}\n')
    (run / LINES["values"]).write_text("")  # which the command mends by itself, and is not what is told
    with pytest.raises(wmtp.ConfigError, match=r"emove (that line|it|/.*engine\.json).* --fresh") as refused:
        wmtp.open_run(run).check_whole()
    assert "Run the command that made it again" not in str(refused.value)


@pytest.mark.parametrize("kind", ["samples", "verdicts", "values", "prompts"])
def test_what_the_command_mends_by_itself_leads_to_it(run: Path, kind: str) -> None:
    cut(run / LINES[kind])
    with pytest.raises(wmtp.ConfigError, match=r"Run the command that made it again$"):
        wmtp.open_run(run).check_whole()


def test_a_value_that_is_not_the_mean_of_its_problems_is_told(run: Path) -> None:
    results = run / "results.json"
    results.write_text(results.read_text().replace('"value": 1.0', '"value": 0.9'))
    opened = wmtp.open_run(run)
    assert opened.state == "damaged"
    assert "states 0.9 of toy_pass@1, and the mean of values/toy-v1.jsonl is 1:" in opened.faults[0]
    (run / LINES["values"]).write_text('{"problem": "task/0", "values": {"toy_pass@1": 1.0}}\n')
    assert wmtp.open_run(run).state == "incomplete", "values that are gone are another thing"


def test_a_whole_run_is_complete(run: Path) -> None:
    opened = wmtp.open_run(run)
    assert (opened.state, opened.faults, opened.missing) == ("complete", (), ())


def test_bytes_that_are_no_text_in_what_an_evaluator_says_are_no_obstacle_to_a_page(run: Path) -> None:
    (run / "details").mkdir()
    (run / "details/toy-v1.md").write_bytes(b"said \xff and more\n")
    assert "said \ufffd and more" in write_report([run]).read_text()


def test_a_run_that_lost_its_values_is_incomplete_and_its_page_says_so(run: Path) -> None:
    (run / LINES["values"]).unlink()
    opened = wmtp.open_run(run)
    assert (opened.state, opened.missing) == ("incomplete", ("values/toy-v1.jsonl is missing",))
    assert "values/toy-v1.jsonl is missing" in write_report([run]).read_text()
    (run / LINES["values"]).write_text('{"problem": "task/0", "values": {"toy_pass@1": 1.0}}\n')
    assert "has 1 values of toy_pass@1, and results.json counts 3 problems" in wmtp.open_run(run).missing[0]


def test_verdicts_that_could_not_be_reached_make_a_run_incomplete(run: Path) -> None:
    path = run / LINES["verdicts"]
    path.write_text(
        path.read_text().replace('"status": "passed", "passed": true', '"status": "infrastructure", "passed": false')
    )
    stored = json.loads((run / "results.json").read_text())
    stored["metrics"]["toy_pass@1"] |= {"value": None, "low": None, "high": None}
    stored["judging"]["infrastructure"] = 6
    (run / "results.json").write_text(json.dumps(stored))
    assert wmtp.open_run(run).state == "incomplete"
    page = write_report([run]).read_text()
    assert "6 verdicts could not be reached, through no fault of the model" in page
    assert 'data-kinds="unjudged"' in page  # not "never solved": nobody knows


def test_a_run_that_is_going_on_is_running_and_its_torn_line_is_nobodys_fault(run: Path) -> None:
    (run / "results.json").unlink()
    cut(run / LINES["samples"])
    with filelock.FileLock(run / ".lock"):
        opened = wmtp.open_run(run)
        assert (opened.state, opened.faults) == ("running", ())
        assert len(list(opened.samples("toy-v1"))) == 5
        with pytest.raises(wmtp.ConfigError, match="still working in it"):
            write_report([run])
    assert wmtp.open_run(run).state == "unfinished"
    assert "cut off" in wmtp.open_run(run).faults[0]


def test_what_a_finished_run_lost_is_not_passed_over_when_it_is_read(run: Path) -> None:
    cut(run / LINES["samples"])
    with pytest.raises(wmtp.ConfigError, match=r"samples/toy-v1\.jsonl, line 6: damaged"):
        list(wmtp.open_run(run).samples("toy-v1"))


def test_a_page_that_the_disk_does_not_take_leaves_the_old_one_and_the_results(run: Path) -> None:
    write_report([run])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # no file may become larger, as on a disk that is full

    done = subprocess.run(
        [sys.executable, "-m", "wmtp", "report", str(run)],
        capture_output=True,
        text=True,
        preexec_fn=small,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{run / 'report.html'}" in done.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
