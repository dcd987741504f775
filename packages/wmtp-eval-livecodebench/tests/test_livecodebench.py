"""LiveCodeBench's rows in the hub's form, made here: tests, the window, months, and pickles that are not loaded."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

import wmtp
import wmtp_eval_livecodebench.plugin
from wmtp import kit
from wmtp.config import load_config, load_recipe
from wmtp.judging import open_judge
from wmtp.testing import EvaluatorContract, FakeEngine, engine_plugin
from wmtp_eval_livecodebench.benchmark import LiveCodeBench
from wmtp_eval_livecodebench.plugin import LiveCodeBenchSettings
from wmtp_eval_livecodebench.rows import private_tests, read

Tests = Sequence[tuple[str, str]]


def compressed(tests: Any, protocol: int = 4) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests), protocol=protocol))).decode()


def row(
    name: str, day: str, public: Tests, private: Tests, function: str | None = None, **changes: Any
) -> dict[str, Any]:
    kind = "functional" if function else "stdin"
    tests = [[{"input": i, "output": o, "testtype": kind} for i, o in some] for some in (public, private)]
    return {
        "question_title": name, "question_content": f"The text of {name}.", "platform": "leetcode" if function else "atcoder",
        "question_id": name, "contest_id": "c1", "contest_date": f"{day}T00:00:00", "difficulty": "easy",
        "starter_code": f"class Solution:\n    def {function}(self, xs: List[int]) -> int:\n        " if function else "",
        "public_test_cases": json.dumps(tests[0]), "private_test_cases": compressed(tests[1]),
        "metadata": json.dumps({"func_name": function} if function else {}), **changes,
    }  # fmt: skip


ADD = row("add", "2024-07-30", [("1 2\n", "3\n")], [("5 5", "10"), ("0.5 1", "1.5")])
LARGEST = row(
    "largest", "2024-08-01", [("[1, 2]\n3", "5")], [("[-4]\n0", "-4"), ("[0, 9]\n1", "10")], function="largestPlus"
)
PAIR = row("pair", "2024-08-31", [("[3, 1]", "[1, 3]")], [("[]", "[]")], function="inOrder")
RIGHT = {
    "add": "print(sum(map(float, input().split())))\n",
    "largest": "class Solution:\n    def largestPlus(self, xs: List[int], n: int) -> int:\n        return max(xs) + n\n",
    "pair": "def inOrder(xs):\n    return tuple(sorted(xs))\n",
}


def written(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two files of releases, as the hub has them."""
    written(tmp_path / "data/test.jsonl", ADD)
    written(tmp_path / "data/test2.jsonl", LARGEST, PAIR)
    return tmp_path / "data"


def rows_of(path: Path) -> list[Mapping[str, Any]]:
    fetch = lambda patterns=None: wmtp.Resource(path, "local")  # noqa: E731
    return list(read(wmtp.DatasetRequest(dataset="livecodebench", split="test", fetch=fetch)))


def run(data: Path, runs: Path, answers: Mapping[str, str], *, name: str = "run", **settings: Any) -> wmtp.Results:
    engine = FakeEngine(lambda request: answers.get(request.key.problem, "x = 1\n"))
    plugins = wmtp.create_plugin_manager(
        plugins=[wmtp_eval_livecodebench.plugin, engine_plugin(engine)], entry_points=False
    )
    config = load_config(
        {"judging": {"level": "auto", "workers": 1}, "paths": {"datasets": {"livecodebench_local": str(data)}}},
        plugins=plugins,
    )
    section = {"metrics": ["livecodebench_pass@1"], "evaluators": {"livecodebench-v1": settings}}
    recipe = load_recipe({"run": {"name": name}, "model": {"base_id": "fake:"}, "eval": section}, plugins=plugins)
    results = wmtp.evaluate(config, recipe, plugins=plugins, runs=runs)
    run.asked = [request.key.problem for request in engine.requests]  # type: ignore[attr-defined]
    return results


class TestLiveCodeBench(EvaluatorContract):
    plugin = wmtp_eval_livecodebench.plugin
    evaluator = "livecodebench-v1"

    def config(self, folder: Path) -> dict[str, Any]:
        data = written(folder.parent / f"{folder.name}.jsonl", ADD, LARGEST, PAIR)
        return {**super().config(folder), "paths": {"datasets": {"livecodebench_local": str(data)}}}

    def test_reference_solutions_pass(self, tmp_path: Path) -> None:
        """The data set has none; answers of ours pass."""
        results = self._run(tmp_path, "fake:", engine_plugin(FakeEngine(lambda request: RIGHT[request.key.problem])))
        assert results.complete, results.shortcomings()
        assert {name: metric.value for name, metric in results.metrics.items()} == {"livecodebench_pass@1": 1.0}


COUNTING = """\
class Solution:
    def __init__(self):
        self.calls = Counter()

    def largestPlus(self, xs, n):
        self.calls[n] += 1
        return max(xs) + n
"""


def judged(given: Mapping[str, Any], program: str, tmp_path: Path, *, every: bool = False) -> wmtp.Outcome:
    """As a model's whole answer would be judged; `every`: on all tests."""
    (found,) = rows_of(written(tmp_path / "rows.jsonl", given))
    benchmark = LiveCodeBench()
    benchmark.settings = LiveCodeBenchSettings(time_limit=2)
    (problem,) = benchmark.problems([found])
    answer = wmtp.Completion(
        key=wmtp.SampleKey(evaluator="e", problem="p", index=0),
        text=program,
        finish_reason="stop",
        tokens=1,
        seconds=0.0,
    )
    code = benchmark.code(problem, answer)
    assert code is not None
    with open_judge(level="auto", workers=1) as judge:
        return judge.submit(code, attrs.evolve(benchmark.program(problem, code), all_tests=every)).result()


@pytest.mark.parametrize(
    ("given", "program", "status", "passed"),
    [
        (ADD, "a, b = map(float, input().split())\nprint(a + b)\n", "passed", 3),
        (ADD, "a, b = map(float, stdin.readline().split())\nprint('  ', a + b)\n", "passed", 3),
        (ADD, "a, b = input().split()\nprint(int(a) + int(b))\n", "error", 2),
        (ADD, "a, b = map(float, input().split())\nprint(a + b + 1e-7)\n", "failed", 0),
        (ADD, "input()\nprint('yes')\n", "failed", 0),
        (ADD, "while True:\n    pass\n", "timeout", 0),
        (ADD, "def f(n):\n    return n and f(n - 1)\nf(9000)\nprint(sum(map(float, input().split())))\n", "passed", 3),
        (ADD, "print(fsum(map(float, input().split())))\nexit()\n", "passed", 3),
        (LARGEST, RIGHT["largest"], "passed", 3),
        (LARGEST, "class Solution:\n    largestPlus = lambda self, xs, n: max(xs) + n + (n == 1)\n", "failed", 2),
        (LARGEST, "class Solution:\n    def other(self):\n        pass\n", "error", 0),
        (LARGEST, COUNTING, "passed", 3),
        (LARGEST, "def largestPlus(xs: List[int], n: int):\n    return max(xs) + n\n", "passed", 3),
        (LARGEST, "class Solution:\n    def largestPlus(self, xs, n):\n        while True:\n            pass\n", "timeout", 0),
        (PAIR, RIGHT["pair"], "passed", 2),
        (PAIR, "def inOrder(xs):\n    return xs\n", "failed", 0),
    ],
)  # fmt: skip
def test_verdicts(given: Mapping[str, Any], program: str, status: str, passed: int, tmp_path: Path) -> None:
    outcome = judged(given, program, tmp_path)
    assert (outcome.status, outcome.tests_passed) == (status, passed), outcome


def test_a_first_call_that_ends_the_program_takes_nothing_from_the_others(tmp_path: Path) -> None:
    leaving = RIGHT["largest"].replace("return", "return os._exit(1) if n == 3 else")
    outcome = judged(LARGEST, f"import os\n{leaving}", tmp_path, every=True)
    assert (outcome.status, outcome.tests_passed, outcome.failed_tests) == ("error", 2, (1,)), outcome


def test_both_ends_of_the_window_are_within_and_the_result_says_it(data: Path, tmp_path: Path) -> None:
    results = run(data, tmp_path, RIGHT, start_date="2024-08-01", end_date="2024-08-31")
    assert sorted(run.asked) == ["largest", "pair"]  # type: ignore[attr-defined]
    assert results.metrics["livecodebench_pass@1"].problems == 2
    note = "window: 2024-08-01 to 2024-08-31, 2 of 3 problems"
    assert json.loads((results.folder / "results.json").read_text())["notes"]["livecodebench-v1"][0] == note
    assert note.replace("window", "Window") in (results.folder / "report.md").read_text(encoding="utf-8")


def test_a_wider_window_keeps_the_samples_there_are(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, RIGHT, start_date="2024-08-01")
    results = run(data, tmp_path, RIGHT)
    assert run.asked == ["add"]  # type: ignore[attr-defined]
    assert results.metrics["livecodebench_pass@1"].problems == 3


def test_the_report_has_the_score_by_month(data: Path, tmp_path: Path) -> None:
    results = run(data, tmp_path, {"add": RIGHT["add"], "pair": RIGHT["pair"]})
    report = (results.folder / "report.md").read_text(encoding="utf-8")
    assert "| month | problems | `livecodebench_pass@1` |\n|---|---:|---:|\n" in report
    assert "| 2024-07 | 1 | 100.0 % |\n| 2024-08 | 2 | 50.0 % |" in report
    assert "Window: 2024-07-30 to 2024-08-31, 3 of 3 problems." in report


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"start_date": "August"}, "start_date: expected a day like 2024-08-01, not 'August'"),
        ({"end_date": "2024-02-30"}, "end_date: expected a day like"),
        ({"start_date": "2024-02-02", "end_date": "2024-02-01"}, "is behind end_date"),
    ],
)
def test_a_wrong_window_is_told(settings: dict[str, str], says: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(wmtp.ConfigError, match=says):
        run(data, tmp_path, RIGHT, **settings)


def test_a_window_without_problems_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(wmtp.ConfigError, match="no problems"):
        run(data, tmp_path, RIGHT, start_date="2030-01-01")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_private_tests_of_any_protocol_are_read_without_being_unpickled(protocol: int) -> None:
    tests = [{"input": "ü\n\U0001f600", "output": "x" * 70_000, "testtype": "stdin"}]
    assert private_tests(compressed(tests, protocol)) == tests
    assert private_tests(json.dumps(tests)) == tests


class Runs:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('it was loaded')",)


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (pickle.dumps(Runs()), "one text is expected; it is not loaded"),
        (pickle.dumps(["[]"]), "EMPTY_LIST"),
        (pickle.dumps(("[]", "[]")), "it is not loaded"),
        (b"\x80\x04N.", "NONE"),
        (b"\x80\x04.", "a pickle of 0 texts"),
        (b"\x80\x04\x8c\x02[]\x8c\x02[].", "a pickle of 2 texts"),
        (pickle.dumps(b"[]"), "SHORT_BINBYTES"),
        (pickle.dumps("[]")[:-1], "pickle exhausted before seeing STOP"),
        (b"cos\nsystem\n(S'true'\ntR.", "GLOBAL"),
    ],
)
def test_a_pickle_that_holds_anything_but_one_text_is_refused(pickled: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kit.pickled_text(pickled)
    with pytest.raises(ValueError, match=says):
        private_tests(base64.b64encode(zlib.compress(pickled)).decode())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"contest_date": "yesterday"}, "line 1: contest_date or metadata"),
        ({"metadata": "[]"}, "line 1: contest_date or metadata"),
        ({"metadata": None}, "line 1: missing or of the wrong type: metadata"),
        ({"private_test_cases": "not base64!"}, "problem add: its tests cannot be read: neither JSON nor compressed"),
        ({"private_test_cases": compressed([])[:-20]}, "problem add: its tests cannot be read"),
        ({"public_test_cases": "[]", "private_test_cases": "[]"}, "problem add has no tests, so every program would pass"),
        ({"public_test_cases": "{}", "private_test_cases": '[{"input": "1"}]'}, "problem add: its tests cannot be read"),
        ({"metadata": '{"func_name": "f"}'}, "tests of type stdin in a functional problem"),
        ({"metadata": '{"func_name": 5}'}, "line 1: contest_date or metadata: no name of a function: 5"),
        ({"public_test_cases": '[{"input": null, "output": "3", "testtype": "stdin"}]'}, "problem add: .* that is no text"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(wmtp.ConfigError, match=says):
        rows_of(written(tmp_path / "test.jsonl", {**ADD, **changes}))[0]["question"].tests()
