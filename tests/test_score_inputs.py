"""What `wmtp score` says of files and settings that it cannot score, before it judges anything."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCORE = ("--benchmark", "mbpp", "--data", "problems.jsonl", "--judge", "process")


@pytest.fixture
def stored(tmp_path: Path, write_problems: Callable[..., Path]) -> Path:
    """Two samples for each of two problems: a right one and a wrong one."""
    write_problems(2)
    rows = [
        {"task_id": i, "completion": f"def add_{i}(x):\n    return x + {add}\n"} for i in (11, 12) for add in (i, i + 1)
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_stored_samples_are_not_called_greedy(stored: Path, wmtp: Any) -> None:
    """Whoever wrote them drew them as they liked: this run's temperature says nothing of them."""
    done = wmtp("score", str(stored), *SCORE, "--set", "eval.sampling.n=2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["mbpp_pass@1"]["value"] == 0.5
    assert "greedy" not in done.stderr


def test_more_samples_than_are_stored_are_refused_before_judging(stored: Path, tmp_path: Path, wmtp: Any) -> None:
    done = wmtp("score", str(stored), *SCORE, "--set", "eval.sampling.n=3")
    assert done.returncode == 2, done.stderr
    assert "eval.sampling.n is 3" in done.stderr
    assert "of problem 11 there are 2. Set it to 2 at most" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("where", ["samples", "data", "recipe of samples", "config.yaml's data"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused(
    where: str, kind: str, stored: Path, tmp_path: Path, wmtp: Any, write_files: Callable[..., None]
) -> None:
    """A device may never end, and what came through a pipe cannot be read a second time."""
    other = Path("/dev/zero") if kind == "device" else tmp_path / "pipe"
    if kind == "pipe":
        os.mkfifo(other)
    if where == "samples":
        done = wmtp("score", str(other), *SCORE)
    elif where == "data":
        done = wmtp("score", str(stored), "--benchmark", "mbpp", "--data", str(other))
    else:
        datasets = {} if where == "recipe of samples" else {"paths": {"datasets": {"mbpp_local": str(other)}}}
        write_files(datasets, model={"base_id": f"samples:{stored if datasets else other}"})
        done = wmtp("eval", "config.yaml", "recipe.yaml")
    assert done.returncode == 2, done.stderr
    assert f"{other} is a {kind}, no regular file" in done.stderr
    assert "write them into a file first" in done.stderr


def test_a_configuration_that_never_ends_is_refused_and_a_pipe_is_read(stored: Path, tmp_path: Path, wmtp: Any) -> None:
    done = wmtp("score", str(stored), *SCORE, "--config", "/dev/zero")
    assert done.returncode == 2, done.stderr
    assert "/dev/zero is longer than 16 MiB" in done.stderr
    pipe = tmp_path / "config"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("seed: 3\n",), daemon=True)
    writer.start()
    assert (
        wmtp("score", str(stored), *SCORE[:-2], "--config", str(pipe), "--set", "judging.level=process").returncode == 0
    )


def test_a_metric_of_another_benchmark_is_named_with_those_that_there_are(
    stored: Path, tmp_path: Path, wmtp: Any
) -> None:
    done = wmtp("score", str(stored), *SCORE, "--set", "eval.metrics=[mbpp_exact,humaneval_pass@1]")
    assert done.returncode == 2, done.stderr
    assert "humaneval_pass@1 is not a metric of mbpp-v1, which has mbpp_exact, mbpp_pass@{k}" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_page_names_the_file_that_was_scored(stored: Path, tmp_path: Path, wmtp: Any) -> None:
    assert wmtp("score", str(stored), *SCORE).returncode == 0
    (page,) = (tmp_path / "runs").glob("*/report.html")
    assert ": samples:samples.jsonl · 20" in page.read_text(encoding="utf-8")


def test_a_file_without_samples_is_told_with_what_is_read(stored: Path, wmtp: Any) -> None:
    stored.write_text("")
    done = wmtp("score", str(stored), *SCORE)
    assert done.returncode == 2, done.stderr
    assert "holds no samples. Read are jsonl" in done.stderr
