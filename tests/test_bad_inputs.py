"""Ten things that newcomers get wrong, and what they are told: what is wrong, where, and what to do about it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml


@attrs.frozen(kw_only=True)
class Case:
    """A bad input. `change` edits the files; every text of `says` is in the message."""

    says: tuple[str, ...]
    change: Callable[[Path], None] | None = None
    arguments: tuple[str, ...] = ()
    status: int = 2


def _edit(file: str, *path: str, to: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        body = yaml.safe_load((folder / file).read_text(encoding="utf-8"))
        place = body
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = to
        (folder / file).write_text(yaml.safe_dump(body), encoding="utf-8")

    return change


def _broken_line(folder: Path) -> None:
    with (folder / "problems.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"task_id": 99, "text": "cut o\n')


def _wrong_fields(folder: Path) -> None:
    with (folder / "problems.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"task_id": 99, "text": "no tests", "code": "pass"}) + "\n")


def _flat_keys(folder: Path) -> None:
    flat = {"storage_mode": "s3", "s3_config": {"bucket": "my-artifacts", "region": "eu-west-1"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(flat), encoding="utf-8")


def _billion(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (folder / "config.yaml").write_text("\n".join(lines), encoding="utf-8")


def _deep(folder: Path) -> None:
    (folder / "config.yaml").write_text("paths: " + "[" * 20_000 + "]" * 20_000, encoding="utf-8")


CASES = {
    "a misspelt key": Case(
        change=_edit("recipe.yaml", "eval", "metrcs", to=["mbpp_exact"]),
        says=("recipe.eval.metrcs", "unknown key", "metrics", "recipe.yaml"),
    ),
    "a value of the wrong type": Case(
        change=_edit("recipe.yaml", "eval", "limit", to="twenty"),
        says=("recipe.eval.limit", "must be", "'twenty'"),
    ),
    "several at once": Case(
        change=_edit("recipe.yaml", "eval", to={"metrics": ["mbpp_exakt"], "limit": 1.5, "colour": "red"}),
        says=("recipe.eval.metrics[0]", "recipe.eval.limit", "recipe.eval.colour"),
    ),
    "flat storage keys": Case(
        change=_flat_keys,
        says=("storage_mode", "storage:", "mode: s3", "bucket: my-artifacts", "region: eu-west-1"),
    ),
    "an unknown metric, misspelt": Case(
        arguments=("--set", "eval.metrics=[mbpp_pas@1]"),
        says=("unknown metric 'mbpp_pas@1'", "did you mean", "'mbpp_pass@1'"),
    ),
    "an unknown metric of a distribution that is not there": Case(
        arguments=("--set", "eval.metrics=[mbpp_pass@1]", "--no-plugin", "wmtp-eval-mbpp"),
        says=("unknown metric 'mbpp_pass@1'", "wmtp-eval-mbpp", "provides it"),
    ),
    "pass@5 with n: 1": Case(
        arguments=("--set", "eval.metrics=[mbpp_pass@5]"),
        says=("recipe.eval.sampling.n", "mbpp_pass@5 needs at least 5 samples a problem, and n is 1", "n: auto"),
    ),
    "a model folder that is not there": Case(
        arguments=("--set", "model.base_id=./no-such-model"),
        says=("no-such-model", "does not exist", "model.base_id"),
    ),
    "a model of a kind that is misspelt": Case(
        arguments=("--set", "model.base_id=refrence:"),
        says=("no loader knows what to do with model 'refrence:'", "did you mean 'reference:'?"),
    ),
    "a model that is nowhere": Case(
        arguments=("--set", "model.base_id=nobody/no-such-model"),
        says=(
            "nobody/no-such-model",
            "1. local copy",
            "not set",
            "hub (nobody/no-such-model)",
            "paths.models.base_local",
        ),
    ),
    "a malformed line of JSONL": Case(change=_broken_line, says=("problems.jsonl, line 10", "not valid JSON")),
    "data without problems": Case(
        change=lambda folder: (folder / "problems.jsonl").write_text("") and None,
        arguments=("--set", "eval.evaluators.mbpp-v1.shots=3"),
        says=("mbpp-v1: the data set has no problems in split 'test'",),
    ),
    "a row without its fields": Case(
        change=_wrong_fields, says=("problems.jsonl, line 10", "missing or of the wrong type", "test_list")
    ),
    "data that is not there": Case(
        change=_edit("config.yaml", "paths", "datasets", to={"mbpp_local": "nowhere.jsonl"}),
        says=("data set 'mbpp'", "nowhere.jsonl does not exist", "hub", "paths.datasets.mbpp_local"),
    ),
    "an empty list of metrics": Case(
        arguments=("--set", "eval.metrics=[]"), says=("recipe.eval.metrics is empty", "wmtp metrics")
    ),
    "a device that torch has no name for": Case(
        change=_edit("config.yaml", "devices", to={"device": "tpu"}), says=("config.devices.device", "cuda:N", "'tpu'")
    ),
    "a --set without a value": Case(
        arguments=("--set", "model.base_id="), says=("--set model.base_id", "has no value", "model.base_id=null")
    ),
    "an alias that stands for a billion values": Case(
        change=_billion, says=("config.yaml", "too large once its aliases")
    ),
    "lists a million deep": Case(change=_deep, says=("config.yaml", "nested too deep")),
    "a split that does not exist": Case(
        arguments=("--set", "eval.evaluators.mbpp-v1.split=dev"),
        says=("recipe.eval.evaluators.mbpp-v1.split", "'dev'", "test"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_message_says_what_where_and_what_to_do(
    name: str, tmp_path: Path, wmtp: Any, write_files: Callable[..., None]
) -> None:
    write_files()
    case = CASES[name]
    if case.change:
        case.change(tmp_path)
    done = wmtp("eval", "config.yaml", "recipe.yaml", *case.arguments)
    assert done.returncode == case.status, done.stderr
    for text in case.says:
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of ours" not in done.stderr
    assert done.stdout == "", "stdout is for data"


def test_a_broken_plugin_is_one_line_unless_it_is_needed(
    tmp_path: Path, wmtp: Any, write_files: Callable[..., None]
) -> None:
    site = tmp_path / "site"
    info = site / "wmtp_eval_humaneval-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "broken_plugin.py").write_text("import a_module_that_is_missing\n", encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wmtp-eval-humaneval\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[wmtp]\nhumaneval = broken_plugin\n", encoding="utf-8")
    write_files()
    path = {"PYTHONPATH": str(site), "WMTP_PLUGINS": "wmtp-eval-mbpp,wmtp-eval-humaneval"}

    unrelated = wmtp("eval", "config.yaml", "recipe.yaml", **path)
    assert unrelated.returncode == 0, unrelated.stderr
    about = [line for line in unrelated.stderr.splitlines() if "humaneval" in line]
    assert len(about) == 1
    assert "a_module_that_is_missing" in about[0]

    needed = wmtp("eval", "config.yaml", "recipe.yaml", "--set", "eval.metrics=[humaneval_pass@1]", **path)
    assert needed.returncode == 2
    for text in ("wmtp-eval-humaneval 1.0 provides it", "a_module_that_is_missing", "pip install"):
        assert text in needed.stderr


def test_a_run_directory_made_with_another_model_is_left_as_it_is(
    tmp_path: Path, wmtp: Any, write_files: Callable[..., None]
) -> None:
    write_files()
    assert wmtp("eval", "config.yaml", "recipe.yaml").returncode == 0
    file = tmp_path / "runs" / "run" / "samples" / "mbpp-v1.jsonl"
    before = file.read_bytes()
    replay = f"model.base_id=samples:{file}"

    other = wmtp("eval", "config.yaml", "recipe.yaml", "--set", replay)
    assert other.returncode == 2
    for text in ("made with another model", "id: reference: → samples:", "run.name", "--fresh"):
        assert text in other.stderr
    hotter = wmtp("eval", "config.yaml", "recipe.yaml", "--set", "eval.sampling.temperature=0.5")
    assert hotter.returncode == 2
    assert "temperature: 0.0 → 0.5" in hotter.stderr
    stricter = wmtp("eval", "config.yaml", "recipe.yaml", "--set", "judging.time_limit=5")
    assert stricter.returncode == 2
    assert "time_limit: 10 → 5" in stricter.stderr
    assert f"wmtp score {Path('runs', 'run', 'samples', 'mbpp-v1.jsonl')}" in stricter.stderr
    assert file.read_bytes() == before

    renamed = wmtp("eval", "config.yaml", "recipe.yaml", "--set", replay, "--set", "run.name=other")
    assert renamed.returncode == 0, renamed.stderr
    fresh = wmtp("eval", "config.yaml", "recipe.yaml", "--set", "eval.sampling.temperature=0.5", "--fresh")
    assert fresh.returncode == 0, fresh.stderr


@pytest.mark.parametrize("name", ["keys.json", "engine.json"])
def test_a_damaged_record_of_the_run_is_named(
    tmp_path: Path, wmtp: Any, write_files: Callable[..., None], name: str
) -> None:
    write_files()
    assert wmtp("eval", "config.yaml", "recipe.yaml").returncode == 0
    file = tmp_path / "runs" / "run" / name
    file.write_text(file.read_text(encoding="utf-8")[:20], encoding="utf-8")
    done = wmtp("eval", "config.yaml", "recipe.yaml")
    assert done.returncode == 2
    assert f"{name}: damaged" in done.stderr
    assert "--fresh" in done.stderr
    assert "emove" in done.stderr
    assert "Traceback" not in done.stderr
    lines = tmp_path / "runs" / "run" / "samples" / "mbpp-v1.jsonl"
    before = lines.read_bytes()
    file.unlink()
    done = wmtp("eval", "config.yaml", "recipe.yaml")
    assert done.returncode == 0, done.stderr  # what the message advises helps, and nothing is sampled again
    assert lines.read_bytes() == before


@pytest.mark.parametrize(
    ("largest", "full"), [(3000, "prompts/mbpp-v1.jsonl"), (11000, "samples/mbpp-v1.jsonl")], ids=["prompts", "samples"]
)
def test_a_disk_that_fills_up_ends_the_run_and_loses_nothing(
    tmp_path: Path, wmtp_env: dict[str, str], wmtp: Any, write_files: Callable[..., None], largest: int, full: str
) -> None:
    """A limit on the size of a file stands for the disk's: the same partial writes, another word for the cause."""
    write_files(problems=40)
    done = subprocess.run(
        [sys.executable, "-m", "wmtp", "eval", "config.yaml", "recipe.yaml"],
        cwd=tmp_path,
        env=wmtp_env,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY)),
        check=False,
    )
    assert done.returncode == 1, done.stderr
    for text in ("File too large", full, "What was done is kept"):
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    samples = tmp_path / "runs" / "run" / "samples" / "mbpp-v1.jsonl"
    kept = samples.read_bytes() if samples.exists() else b""  # it is made with the first sample
    if full.startswith("samples"):
        assert kept.endswith(b"\n")
    else:
        assert kept == b""  # prompts come first: nothing was sampled
    assert not list((tmp_path / "runs").rglob("*.tmp"))  # a full disk is left no half files
    again = wmtp("eval", "config.yaml", "recipe.yaml", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["metrics"]["mbpp_exact"]["problems"] == 40
    assert samples.read_bytes().startswith(kept)


@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&-"])
def test_a_closed_stream_spoils_no_file(
    tmp_path: Path, wmtp_env: dict[str, str], write_files: Callable[..., None], redirect: str
) -> None:
    """The number of a closed stream goes to the next file that is opened: what is printed must not land there."""
    write_files()
    command = f"'{sys.executable}' -m wmtp eval config.yaml recipe.yaml {redirect}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=wmtp_env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = (tmp_path / "runs" / "run" / "verdicts" / "mbpp-v1.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["passed"] * 6


def test_a_terminal_that_knows_ascii_only_shows_the_table(wmtp: Any, write_files: Callable[..., None]) -> None:
    write_files(run={"name": "경주"})
    done = wmtp("eval", "config.yaml", "recipe.yaml", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "mbpp_exact" in done.stdout


def test_a_folder_that_is_no_run_directory_is_not_touched(
    tmp_path: Path, wmtp: Any, write_files: Callable[..., None]
) -> None:
    write_files()
    thesis = tmp_path / "runs" / "run" / "thesis.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("ten years of work", encoding="utf-8")
    done = wmtp("eval", "config.yaml", "recipe.yaml", "--fresh")
    assert done.returncode == 2
    assert "is no run directory (it holds 'thesis.tex')" in done.stderr
    assert thesis.read_text(encoding="utf-8") == "ten years of work"


def _descendants(pid: int) -> set[int]:
    """Processes under `pid`, as /proc tells."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


@pytest.mark.parametrize("how", ["ctrl-C", "kill -9"])
def test_stopped_in_mid_run_it_says_how_to_go_on_and_leaves_no_process(
    tmp_path: Path, wmtp: Any, wmtp_env: dict[str, str], write_files: Callable[..., None], how: str
) -> None:
    """The programs sleep, so that the run is in its middle for as long as it takes."""
    write_files(problems=40)
    rows = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text(encoding="utf-8").splitlines()]
    slow = [{**row, "code": f"import time; time.sleep(0.15)\n{row['code']}"} for row in rows]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in slow), encoding="utf-8")
    arguments = ["eval", "config.yaml", "recipe.yaml", "--set", "judging.workers=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "wmtp", *arguments],
        cwd=tmp_path,
        env=wmtp_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal sends ctrl-C to the whole group, the judge's processes included
        # a shell that runs the tests in the background has them ignore ctrl-C, and all their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    file = tmp_path / "runs" / "run" / "verdicts" / "mbpp-v1.jsonl"
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    below = _descendants(process.pid)
    assert below, "the judge has processes of its own"
    if how == "ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    out, err = process.communicate(timeout=30)
    if how == "ctrl-C":
        assert process.returncode == 130, err
        assert "stopped by ctrl-C; the same command goes on from here" in err
        assert "wmtp eval config.yaml recipe.yaml" in err
        assert "Traceback" not in err
        assert out == ""
    while left := {pid for pid in below if _alive(pid)}:
        assert time.monotonic() < deadline, f"processes left behind: {left}"
        time.sleep(0.02)

    before = file.read_bytes()
    assert before.count(b"\n") < 40, "it was stopped in its middle"
    done = wmtp(*arguments)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert file.read_bytes().count(b"\n") == 40


def _alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_processes_cannot_work_in_one_run_directory(
    tmp_path: Path, wmtp: Any, write_files: Callable[..., None]
) -> None:
    from wmtp.runs.folder import locked

    write_files()
    with locked(tmp_path / "runs" / "run", fresh=False):
        done = wmtp("eval", "config.yaml", "recipe.yaml")
    assert done.returncode == 2
    assert "another process is working in" in done.stderr
    assert wmtp("eval", "config.yaml", "recipe.yaml").returncode == 0
