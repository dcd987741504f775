"""HumanEval as the data set ships it, and the plugin against the contract of an evaluator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wmtp
import wmtp_eval_humaneval.plugin
from wmtp.judging import open_judge
from wmtp.testing import EvaluatorContract
from wmtp_eval_humaneval.benchmark import HumanEval, helpers
from wmtp_eval_humaneval.plugin import HumanEvalSettings
from wmtp_eval_humaneval.rows import read

ROW = {
    "task_id": "Own/0",
    "prompt": 'import math\n\ndef base(n):\n    return n + 1\n\n\ndef root(n):\n    """Integer square root of n."""\n',
    "entry_point": "root",
    "canonical_solution": "    return math.isqrt(n)\n",
    "test": "\ndef check(candidate):\n    for i in range(20):\n        assert candidate(i * i) == base(i) - 1\n",
}


def rows_of(path: Path) -> list[Any]:
    fetch = lambda patterns=None: wmtp.Resource(path, "local")  # noqa: E731
    return list(read(wmtp.DatasetRequest(dataset="humaneval", split="test", fetch=fetch)))


def completion(text: str) -> wmtp.Completion:
    return wmtp.Completion(
        key=wmtp.SampleKey(evaluator="e", problem="Own/0", index=0),
        text=text,
        finish_reason="stop",
        tokens=0,
        seconds=0.0,
    )


@pytest.fixture
def benchmark() -> HumanEval:
    made = HumanEval()
    made.settings = HumanEvalSettings()
    return made


PROBLEM = wmtp.Problem(id="Own/0", row=ROW, reference=ROW["canonical_solution"])


class TestHumanEval(EvaluatorContract):
    plugin = wmtp_eval_humaneval.plugin
    evaluator = "humaneval-v1"

    def config(self, folder: Path) -> dict[str, Any]:
        data = folder.parent / f"{folder.name}.jsonl"
        data.write_text("".join(json.dumps({**ROW, "task_id": f"Own/{i}"}) + "\n" for i in range(2)), encoding="utf-8")
        return {**super().config(folder), "paths": {"datasets": {"humaneval_local": str(data)}}}


def test_all_canonical_solutions_pass_split_from_their_tests(shared: Path, benchmark: HumanEval) -> None:
    rows = rows_of(shared / "data/humaneval")
    assert len(rows) == 164
    with open_judge(level="auto") as judge:
        futures = {
            row["task_id"]: judge.submit(
                row["prompt"] + row["canonical_solution"],
                benchmark.program(wmtp.Problem(id=row["task_id"], row=row), ""),
            )
            for row in rows
        }
        assert [(k, f.result()) for k, f in futures.items() if not f.result().passed] == []


def test_helpers_of_the_prompt_are_the_judges_own(benchmark: HumanEval) -> None:
    assert "def base" in helpers(ROW["prompt"], "root")
    assert "def root" not in helpers(ROW["prompt"], "root")
    cheat = ROW["prompt"] + "    return 7\ndef base(n): return 8\n"
    with open_judge(level="auto", workers=1) as judge:
        assert judge.submit(cheat, benchmark.program(PROBLEM, cheat)).result().status == "failed"


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("    return 1\n", "import math"),
        ("def root(n):\n    return 1\n", "def root"),
        ("Sure:\n```python\ndef root(n):\n    return 1\n```", "def root"),
    ],
)
def test_code_continues_the_prompt_unless_it_is_whole(benchmark: HumanEval, text: str, begins: str) -> None:
    code = benchmark.code(PROBLEM, completion(text))
    assert code is not None
    assert code.startswith(begins)


def test_nothing_is_no_code(benchmark: HumanEval) -> None:
    assert benchmark.code(PROBLEM, completion(" \n")) is None


def test_chat_form(benchmark: HumanEval) -> None:
    benchmark.settings = HumanEvalSettings(chat=True)
    (turn,) = benchmark.prompt(PROBLEM)
    assert ROW["prompt"] in turn["content"]


def test_parquet_equals_jsonl(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([ROW]), tmp_path / "test-00000.parquet")
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    assert rows_of(tmp_path) == rows_of(tmp_path / "rows.jsonl") == [ROW]


@pytest.mark.parametrize(("line", "says"), [('{"task_id": "x"}', "line 1: missing"), ("{", "line 1: not valid JSON")])
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "HumanEval.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(wmtp.ConfigError, match=says):
        rows_of(tmp_path)
