"""EvalPlus' rows in both forms, and what is refused while they are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp_eval_evalplus import rows

OWN = Path(__file__).with_name("rows")
AUX = """\
import numpy as np
from math import inf

def assertion(out, exp, atol):
    assert out == exp

"""
HUB_HUMANEVAL = {
    "task_id": "HumanEval/900", "entry_point": "twice",
    "prompt": 'def twice(x):\n    """Twice x."""\n', "canonical_solution": "    return 2 * x\n",
    "test": f"{AUX}def check(candidate):\n    inputs = [[1], [-inf]]\n    results = [2, -inf]\n"
    "    for i, (inp, exp) in enumerate(zip(inputs, results)):\n        assertion(candidate(*inp), exp, 1e-06)\n",
}  # fmt: skip
HUB_MBPP = {
    "task_id": 901, "code": "def helper(x):\n    return x\n\ndef twice(x):\n    return helper(2 * x)\n", "prompt": "Double it.",
    "source_file": "", "test_imports": [], "test_list": ["assert twice(1) == 2"],
    "test": f"{AUX}inputs = [[1], [(1, 2)], [set()], [1j]]\nresults = []\n"
    "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(twice(*inp), exp, 0)\n",
}  # fmt: skip


def read(path: Path, dataset: str) -> list[Mapping[str, Any]]:
    fetch = lambda patterns=None: wmtp.Resource(path, "local")  # noqa: E731
    return list(rows.read(wmtp.DatasetRequest(dataset=dataset, split="test", fetch=fetch)))


def written(path: Path, listed: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in listed), encoding="utf-8")
    return path


def released(**changes: Any) -> dict[str, Any]:
    (row, *_) = map(json.loads, (OWN / "HumanEvalPlus.jsonl").read_text(encoding="utf-8").splitlines())
    return {**row, **changes}


def test_the_release_is_read_with_the_types_that_mbpp_plus_calls_with() -> None:
    found = {row["task_id"]: row for row in read(OWN, "mbpp_plus")}
    assert found["Mbpp/2"]["base_input"] == [[(3, 4, 5, 6), (5, 7, 4, 10)]]
    assert found["Mbpp/252"]["base_input"] == [[3 + 4j]]
    assert found["Mbpp/580"]["base_input"] == [[(4, 5, (7, 6), 2)]]
    assert found["Mbpp/912"]["plus_input"][0] == [[float("inf"), 0.5]]


@pytest.mark.parametrize(
    ("number", "given", "called"),
    [
        (63, [[[1, 2], [3, 4]]], [[(1, 2), (3, 4)]]),
        (75, [[[1, 2]], 3], [[(1, 2)], 3]),
        (106, [[1], [2]], [[1], (2,)]),
        (115, [[[1, 2], [], {}]], [[{1, 2}, {}, {}]]),
        (124, ["0", "1j"], [0.0, 1j]),
        (250, [[1, [2]], 3], [(1, [2]), 3]),
        (307, [[1], 2, 3], [(1,), 2, 3]),
        (259, [[[1, 2]], [[3, 4]]], [((1, 2),), ((3, 4),)]),
        (278, [[1, [2, 3]]], [(1, (2, 3))]),
        (722, [{"a": [1, 2]}, 3], [{"a": (1, 2)}, 3]),
        (1, [[1, [2]]], [[1, [2]]]),
    ],
)
def test_arguments_that_json_has_no_type_for(number: int, given: list[Any], called: list[Any]) -> None:
    assert rows.as_called(f"Mbpp/{number}", given) == called


def test_the_hubs_form_gives_inputs_and_tolerance_out_of_the_tests_source(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for name, row in (("humaneval_plus", HUB_HUMANEVAL), ("mbpp_plus", HUB_MBPP)):
        folder = tmp_path / name / "data"
        folder.mkdir(parents=True)
        parquet.write_table(pyarrow.Table.from_pylist([row]), folder / "test-00000-of-00001-d5781c9c51e02795.parquet")
    (human,) = read(tmp_path / "humaneval_plus", "humaneval_plus")
    assert (human["base_input"], human["plus_input"], human["atol"]) == (None, [[1], [-float("inf")]], 1e-06)
    (mbpp,) = read(tmp_path / "mbpp_plus", "mbpp_plus")
    assert (mbpp["task_id"], mbpp["entry_point"], mbpp["atol"]) == ("Mbpp/901", "twice", 0)
    assert mbpp["plus_input"] == [[1], [(1, 2)], [set()], [1j]]
    assert mbpp["prompt"] == '"""\nDouble it.\nassert twice(1) == 2\n"""\n'


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (released(base_input=[], plus_input=[]), "line 1: it has no inputs, so every program would pass"),
        (released(plus_input=[5]), "line 1: arguments of a call: 5 is no list"),
        (released(atol=None), "line 1: missing or of the wrong type: atol"),
        ({**HUB_HUMANEVAL, "test": "def check(candidate):\n    pass\n"}, "no inputs can be read from its test"),
        ({**HUB_HUMANEVAL, "test": "inputs = [open('x')]"}, "no inputs can be read from its test"),
        ({**HUB_HUMANEVAL, "test": "def check(:"}, "no inputs can be read from its test"),
        ({"task_id": "x"}, "line 1: missing or of the wrong type: prompt, entry_point, canonical_solution, test"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Mapping[str, Any], says: str) -> None:
    with pytest.raises(wmtp.ConfigError, match=says):
        read(written(tmp_path / "HumanEvalPlus.jsonl", [row]), "humaneval_plus")


def test_a_row_whose_tested_function_cannot_be_told(tmp_path: Path) -> None:
    row = {**HUB_MBPP, "test_list": ["assert twice(helper(1)) == 2"]}
    with pytest.raises(wmtp.ConfigError, match="which function is tested cannot be told"):
        read(written(tmp_path / "MbppPlus.jsonl", [row]), "mbpp_plus")
