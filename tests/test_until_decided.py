"""``wmtp eval --until-decided``: the command stops, says what it decided, and goes on after a kill to the same end."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROBLEMS, N = 150, 6


def write_samples(path: Path, rate: float, seed: int) -> None:
    """Samples of problems 11 …: right at this rate."""
    dice = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for task in range(11, 11 + PROBLEMS):
            for _ in range(N):
                code = f"def add_{task}(x):\n    return x + {task if dice.random() < rate else 0}\n"
                file.write(json.dumps({"task_id": task, "completion": code}) + "\n")


def run(name: str, *more: str) -> list[str]:
    base = f"model.base_id=samples:{name}.jsonl"
    return ["eval", "config.yaml", "recipe.yaml", "--set", base, "--set", f"run.name={name}", *more]


def stored(folder: Path) -> set[tuple[str, int]]:
    lines = (folder / "samples" / "mbpp-v1.jsonl").read_text(encoding="utf-8").splitlines()
    return {(row["problem"], row["index"]) for row in map(json.loads, lines)}


def test_the_command_stops_once_decided_and_a_killed_one_comes_to_the_same_decision(
    tmp_path: Path,
    wmtp: Any,
    kill: Callable[..., None],
    wmtp_env: dict[str, str],
    write_files: Callable[..., None],
    results: Callable[..., dict[str, Any]],
) -> None:
    write_files(problems=PROBLEMS, eval={"metrics": ["mbpp_pass@1"], "evaluators": {"mbpp-v1": {"shots": 0}}})
    for name, rate, seed in (("base", 0.4, 1), ("own", 0.5, 7), ("killed", 0.5, 7), ("like", 0.4, 3)):
        write_samples(tmp_path / f"{name}.jsonl", rate, seed)
    many = ("--set", f"eval.sampling.n={N}")
    done = wmtp(*run("base", *many))
    assert done.returncode == 0, done.stderr

    beat = (*many, "--until-decided", "runs/base", "--difference", "0.1")
    done = wmtp(*run("own", *beat))
    assert done.returncode == 0, done.stderr
    note = results("own")["notes"]["mbpp-v1"][0]
    assert note.startswith("better than base after ")
    assert note in done.stderr
    used = stored(tmp_path / "runs" / "own")
    assert PROBLEMS < len(used) < PROBLEMS * N, "it stopped early"
    assert results("own")["metrics"]["mbpp_pass@1"]["samples"] == len(used)
    assert f"{re.search('after ([0-9]+) pairs', note)[1]} pairs" == f"{len(used)} pairs"

    command = [sys.executable, "-m", "wmtp", *run("killed", *beat)]
    file = tmp_path / "runs" / "killed" / "samples" / "mbpp-v1.jsonl"
    for already in (5, PROBLEMS + 20):
        kill(command, tmp_path, wmtp_env, file, already)
    done = wmtp(*run("killed", *beat))
    assert done.returncode == 0, done.stderr
    assert results("killed")["notes"]["mbpp-v1"][0] == note
    assert results("killed")["metrics"] == results("own")["metrics"]
    assert stored(file.parents[1]) == used

    done = wmtp(*run("like", *beat[:-1], "0.2"))
    assert results("like")["notes"]["mbpp-v1"][0].startswith("equivalent to base within 0.2 "), done.stdout

    compared = wmtp("compare", "runs/base", "runs/own")
    assert "own was sampled until it was decided" in compared.stdout


def test_wrong_arguments_are_told(tmp_path: Path, wmtp: Any, write_files: Callable[..., None]) -> None:
    write_files(problems=3)
    assert wmtp("eval", "config.yaml", "recipe.yaml").returncode == 0
    (tmp_path / "empty").mkdir()
    for words, arguments in {
        "--difference belongs to --until-decided": ("--difference", "0.1"),
        "must be a number from 1e-06 to below 1": ("--until-decided", "runs/run", "--difference", "1.5"),
        "does not exist": ("--until-decided", "runs/none"),
        "is this run itself": ("--until-decided", "runs/run"),
        "no run folder": ("--until-decided", "empty", "--set", "run.name=other"),
    }.items():
        done = wmtp("eval", "config.yaml", "recipe.yaml", *arguments)
        assert done.returncode != 0
        assert words in re.sub(r"\s+", " ", done.stderr.replace("│", "")), done.stderr
        assert "Traceback" not in done.stderr
