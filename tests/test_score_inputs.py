"""What `wmtp score` says of files and settings that it cannot score, before it judges anything."""

from __future__ import annotations

import json
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
