"""What a line of stored samples says, and what is said to one that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import ConfigError
from wmtp.generation.replay import SamplesEngine


def engine(tmp_path: Path, *rows: dict[str, Any]) -> SamplesEngine:
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return SamplesEngine(path)


def text(found: SamplesEngine, problem: str = "11") -> str:
    key = SampleKey(evaluator="e", problem=problem, index=0)
    return next(found.generate([GenerationRequest(key=key, prompt="p")], Sampling())).text


def test_of_completion_and_solution_the_solution_is_judged_as_evalplus_does(tmp_path: Path) -> None:
    assert text(engine(tmp_path, {"task_id": "11", "completion": "c", "solution": "s"})) == "s"
    assert text(engine(tmp_path, {"task_id": "11", "completion": "c", "solution": None})) == "c"
    assert text(engine(tmp_path, {"task_id": "11", "completion": None, "solution": "s"})) == "s"
    ours = {"problem": "11", "index": 0, "completion": "c", "solution": "the data set's own"}
    assert text(engine(tmp_path, ours)) == "c"


def test_whole_numbers_are_names_also_as_pandas_writes_them(tmp_path: Path) -> None:
    for name in ("11", 11, 11.0):
        assert engine(tmp_path, {"task_id": name, "completion": "c"}).counts() == {"11": 1}
    assert engine(tmp_path, {"problem": 11.0, "index": 0.0, "completion": "c"}).counts() == {"11": 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"completion": None}, "completion must be text, not null .*ask again.* empty text"),
        ({"completion": ["c"]}, r'completion must be text, not \["c"\]$'),
        ({"task_id": 11.5}, "task_id must be text or a whole number, not 11.5$"),
        ({"task_id": float("nan")}, "task_id must be text or a whole number, not NaN$"),
        ({"task_id": True}, "task_id must be text or a whole number, not true$"),
        ({"task_id": None, "completion": 3}, "completion must be text, not 3; task_id must be"),
        ({"completion": ["c" * 10_000]}, "not .{60}…$"),
    ],
)
def test_the_field_that_is_wrong_is_named_with_what_was_found(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"line 1: .*{told}"):
        engine(tmp_path, {"task_id": "11", "completion": "c", **change})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"task_id": 11, "task_id": 12, "completion": "c"}\n', "line 1: has the key 'task_id' twice in one object"),
        (b'{"task_id": 11, "completion": "\xe9"}\n', "line 1: not UTF-8 text: .* at byte 32. Save the file as UTF-8"),
        (b'["\xe9"]', ": not UTF-8 text: .* at byte 3. Save the file as UTF-8"),
        (b"task_id,completion\n11,c\n", "line 1: not valid JSON: .*Read are jsonl, .* and bigcode's generations.json"),
        (b'[["c"]', ": not valid JSON: .*Read are jsonl, .* and bigcode's generations.json"),
        (b"[" * 100_000, ": nested too deep"),
    ],
)
def test_what_is_no_samples_file_is_told_with_what_to_do(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        SamplesEngine(path)


@pytest.mark.parametrize("index", [-1, 0.5, True, "0", float("inf")])
def test_an_index_that_is_none_is_named(index: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1: index must be a whole number from 0, not "):
        engine(tmp_path, {"problem": "11", "index": index, "completion": "c"})
