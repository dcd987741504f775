"""APPS' rows in the hub's form, made here: called and reading problems, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import wmtp
import wmtp_eval_apps.plugin
from wmtp.config import load_config, load_recipe
from wmtp.judging import open_judge
from wmtp.testing import EvaluatorContract, FakeEngine, engine_plugin
from wmtp_eval_apps.benchmark import Apps
from wmtp_eval_apps.plugin import AppsSettings
from wmtp_eval_apps.rows import read


def row(number: int, tests: Mapping[str, Any] | str, *solutions: str, **changes: Any) -> dict[str, Any]:
    return {
        "problem_id": number, "question": "The text.", "solutions": json.dumps(solutions) if solutions else "",
        "input_output": tests if isinstance(tests, str) else json.dumps(tests), "difficulty": "interview", "url": "",
        "starter_code": "", **changes,
    }  # fmt: skip


READS = row(0, {"inputs": ["1 2\n", ["3 4", ""]], "outputs": ["3\n", ["7"]]}, "print(sum(map(int, input().split())))\n")
CALLS = row(
    1,
    {"fn_name": "swap", "inputs": [[[1, 2]], [[]], [[3, 4]]], "outputs": [[2, 1], [], [[4, 3]]]},
    "def swap(xs):\n    return tuple(xs[::-1])\n",
    difficulty="introductory", starter_code="\ndef swap(xs):\n\t",
)  # fmt: skip
METHOD = row(
    2,
    {"fn_name": "count", "inputs": [[{"1": 2}, "x"]], "outputs": [[{"2": 1}]]},
    "class Solution:\n    def count(self, d: List, x):\n        return {v: k for k, v in d.items()}\n",
)


def written(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def rows_of(path: Path) -> list[Mapping[str, Any]]:
    fetch = lambda patterns=None: wmtp.Resource(path, "local")  # noqa: E731
    return list(read(wmtp.DatasetRequest(dataset="apps", split="test", fetch=fetch)))


class TestApps(EvaluatorContract):
    plugin = wmtp_eval_apps.plugin
    evaluator = "apps-v1"

    def config(self, folder: Path) -> dict[str, Any]:
        data = written(folder.parent / f"{folder.name}.jsonl", READS, CALLS, METHOD)
        return {**super().config(folder), "paths": {"datasets": {"apps_local": str(data)}}}


@pytest.mark.parametrize(
    ("given", "program", "status"),
    [
        (READS, "a, b = map(int, input().split())\nprint(a + b)\n", "passed"),
        (READS, "print(sum(map(int, sys.stdin.readline().split())))\n", "passed"),
        (READS, "print(1)\n", "failed"),
        (READS, "while 1:\n    pass\n", "timeout"),
        (CALLS, "def swap(xs):\n    return list(reversed(xs))\n", "passed"),
        (
            CALLS,
            "class Solution:\n    def swap(self, xs: List[int]) -> List[int]:\n        return xs[::-1]\n",
            "passed",
        ),
        (CALLS, "inf = 7\ndef swap(xs):\n    return xs[::-1] if inf == 7 else None\n", "passed"),
        (CALLS, "def swap(xs):\n    return xs\n", "failed"),
        (CALLS, "def other(xs):\n    return xs\n", "error"),
        (METHOD, "def count(d, x):\n    return dict(Counter(d.keys())) and {2: 1}\n", "passed"),
        (METHOD, "def count(d, x):\n    return {'2': 1}\n", "failed"),
    ],
)
def test_verdicts(given: Mapping[str, Any], program: str, status: str, tmp_path: Path) -> None:
    benchmark = Apps()
    benchmark.settings = AppsSettings(time_limit=2)
    (problem,) = benchmark.problems(rows_of(written(tmp_path / "test.jsonl", given)))
    key = wmtp.SampleKey(evaluator="e", problem="p", index=0)
    answer = wmtp.Completion(key=key, text=program, finish_reason="stop", tokens=1, seconds=0.0)
    code = benchmark.code(problem, answer)
    assert code is not None
    with open_judge(level="auto", workers=1) as judge:
        assert judge.submit(code, benchmark.program(problem, code)).result().status == status


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (row(3, "{"), "line 1: input_output or solutions"),
        (row(3, {"inputs": ["1"], "outputs": []}), "line 1: input_output or solutions: 1 inputs and 0 outputs"),
        (row(3, "[]"), "line 1: input_output or solutions"),
        (row(3, "", solutions="x"), "line 1: input_output or solutions"),
        ({k: v for k, v in READS.items() if k != "problem_id"}, "line 1: missing: problem_id"),
        ({"problem_id": 1}, "line 1: missing or of the wrong type: question, solutions"),
    ],
)
def test_a_bad_row_is_named(line: Mapping[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(wmtp.ConfigError, match=says):
        rows_of(written(tmp_path / "test.jsonl", line))


def run(data: Path, runs: Path, **settings: Any) -> wmtp.Results:
    engine = FakeEngine(lambda request: "print(sum(map(int, input().split())))\n")
    plugins = wmtp.create_plugin_manager(plugins=[wmtp_eval_apps.plugin, engine_plugin(engine)], entry_points=False)
    paths = {"datasets": {"apps_local": str(data)}}
    config = load_config({"judging": {"level": "auto", "workers": 1}, "paths": paths}, plugins=plugins)
    section = {"metrics": ["apps_pass@1"], "evaluators": {"apps-v1": settings}}
    recipe = load_recipe({"run": {"name": "run"}, "model": {"base_id": "fake:"}, "eval": section}, plugins=plugins)
    return wmtp.evaluate(config, recipe, plugins=plugins, runs=runs)


def test_a_problem_without_tests_is_refused_or_left_out_and_said(tmp_path: Path) -> None:
    data = written(tmp_path / "test.jsonl", READS, row(9, ""), {**CALLS, "difficulty": "competition"})
    with pytest.raises(wmtp.ConfigError, match=r"line 2: problem 9 has no tests.*skip_untested: true leaves"):
        run(data, tmp_path / "a")
    results = run(data, tmp_path / "b", skip_untested=True)
    assert results.metrics["apps_pass@1"].problems == 2
    notes = json.loads((results.folder / "results.json").read_text(encoding="utf-8"))["notes"]["apps-v1"]
    assert notes[0] == "1 problems without tests are left out"
    report = (results.folder / "report.md").read_text(encoding="utf-8")
    assert "| competition | 1 | 0.0 % |\n| interview | 1 | 100.0 % |" in report
