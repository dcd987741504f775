"""The share of tests that programs pass, where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.evaluation.score import score

ROW = {
    "task_id": 11, "text": "Write a function to double a number.", "code": "def double(x):\n    return 2 * x\n",
    "test_list": ["assert double(2) == 4", "assert double(0) == 0", "assert double(-3) == -6"], "test_setup_code": "",
    "challenge_test_list": [],
}  # fmt: skip
ANSWERS = ("def double(x): return 2 * x", "def double(x): return abs(2 * x)", "I cannot.", "def double(x): return 0")
METRICS = "eval.metrics=[mbpp_pass@1,mbpp_tests_passed]"
ALL = "eval.evaluators.mbpp-v1.all_tests=true"


def _score(folder: Path, *overrides: str) -> Any:
    data, samples = folder / "mbpp.jsonl", folder / "samples.jsonl"
    data.write_text(json.dumps(ROW) + "\n")
    samples.write_text("".join(json.dumps({"task_id": 11, "completion": text}) + "\n" for text in ANSWERS))
    config = {"judging": {"level": "process", "workers": 1}}
    return score(samples, "mbpp", config=config, data=data, overrides=overrides, runs=folder / "runs")


def test_the_share_is_the_mean_over_samples_and_pass_at_k_is_what_it_was(tmp_path: Path) -> None:
    results = _score(tmp_path, METRICS, ALL)
    assert results.metrics["mbpp_tests_passed"].value == pytest.approx((1 + 2 / 3 + 0 + 1 / 3) / 4)
    assert results.metrics["mbpp_pass@1"].value == 1 / 4
    (path,) = tmp_path.glob("runs/*/verdicts/*.jsonl")
    verdicts = {v["index"]: v for v in map(json.loads, path.read_text().splitlines())}
    assert [verdicts[i].get("failed_tests") for i in range(4)] == [None, [3], None, [1, 3]]
    read = {v.key.index: v.outcome.failed_tests for v in wmtp.open_run(path.parents[1]).verdicts("mbpp-v1")}
    assert read == {0: (), 1: (3,), 2: (), 3: (1, 3)}


def test_without_the_setting_it_is_left_out_and_refused_where_it_is_named(tmp_path: Path) -> None:
    assert "mbpp_tests_passed" not in _score(tmp_path).metrics
    with pytest.raises(wmtp.ConfigError, match=r"eval\.evaluators\.mbpp-v1\.all_tests: true"):
        _score(tmp_path, METRICS)


def test_verdicts_without_all_tests_are_not_taken_for_those_with_them(tmp_path: Path) -> None:
    _score(tmp_path)
    with pytest.raises(wmtp.ConfigError, match="all_tests"):
        _score(tmp_path, METRICS, ALL)
