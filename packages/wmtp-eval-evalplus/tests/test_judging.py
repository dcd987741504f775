"""What counts as the reference's answer, how it comes about, and what a report says of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wmtp
import wmtp_eval_evalplus.plugin
from wmtp.config import load_config, load_recipe
from wmtp.kit import near
from wmtp.testing import FakeEngine, engine_plugin
from wmtp_eval_evalplus import oracle

ROWS = Path(__file__).with_name("rows")
NUMBERS = st.one_of(st.floats(), st.integers(-(2**62), 2**62), st.booleans(), st.complex_numbers(max_magnitude=1e300))


def run(folder: Path, answer: Any, metrics: list[str], evaluator: str = "mbpp-plus-v1", **config: Any) -> wmtp.Results:
    engine = FakeEngine(answer)
    plugins = wmtp.create_plugin_manager(plugins=[wmtp_eval_evalplus.plugin, engine_plugin(engine)], entry_points=False)
    dataset = "mbpp_plus" if evaluator == "mbpp-plus-v1" else "humaneval_plus"
    paths = {"datasets": {f"{dataset}_local": str(config.pop("rows", ROWS))}}
    made = load_config({"judging": {"level": "auto", "workers": 1}, "paths": paths}, plugins=plugins)
    section = {"metrics": metrics, "sampling": {"n": 1}}
    recipe = load_recipe({"run": {"name": "run"}, "model": {"base_id": "fake:"}, "eval": section}, plugins=plugins)
    return wmtp.evaluate(made, recipe, plugins=plugins, runs=folder)


def oracle_right(dataset: str, entry: str, args: Any, out: Any, wanted: Any, atol: float) -> bool:
    rule = eval(f"lambda args, out, wanted, atol: {oracle.OWN[dataset].get(entry, oracle.SAME)}", dict(vars(near)))
    return near.near_held(rule, args, out, wanted, atol)


@given(NUMBERS, NUMBERS, st.sampled_from([1e-6, 1e-4, 0.5]))
def test_near_is_what_numpy_calls_near(out: Any, wanted: Any, atol: float) -> None:
    with np.errstate(all="ignore"):
        theirs = bool(np.allclose(out, wanted, rtol=1e-07, atol=atol))
    assert near._near_values(out, wanted, atol) == theirs


@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=3),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=3),
)
def test_lists_of_one_length_are_near_as_numpy_has_it(out: list[float], wanted: list[float]) -> None:
    length = min(len(out), len(wanted))
    with np.errstate(all="ignore"):
        theirs = bool(np.allclose(out[:length], wanted[:length], rtol=1e-07, atol=1e-6))
    assert near.near_same(out[:length], wanted[:length], 0) == (theirs or out[:length] == wanted[:length])


@pytest.mark.parametrize(
    "out",
    [None, "x", [1], {}, object(), 2**70, math.nan, complex(1e308, 1e308), -(2**70), [[]], {1: 2}, (x for x in "ab")],
)
@pytest.mark.parametrize(
    ("dataset", "entry", "args", "wanted", "atol"),
    [
        ("humaneval_plus", "find_zero", ([1, 2],), -0.5, 1e-4),
        ("humaneval_plus", "any", (1,), [0.5, 1.5], 0),
        ("humaneval_plus", "any", (1,), 0.5, 1e-6),
        ("mbpp_plus", "find_zero", (1,), 5, 0),
        ("mbpp_plus", "similar_elements", ((7,), (7,)), (7,), 0),
        ("mbpp_plus", "surface_Area", (3, 4), 33, 0),
        ("mbpp_plus", "digit_distance_nums", (-1, 22), 3, 0),
        ("mbpp_plus", "sum_div", (7,), 1, 0),
    ],
)  # fmt: skip
def test_no_answer_makes_the_oracle_raise_and_none_of_these_is_right(
    out: Any, dataset: str, entry: str, args: Any, wanted: Any, atol: float
) -> None:
    assert oracle_right(dataset, entry, args, out, wanted, atol) is False


def test_a_tolerance_is_for_the_answer_it_belongs_to() -> None:
    """evalplus 0.3.1 keeps it for the later answers of the problem."""
    assert oracle_right("mbpp_plus", "f", (), 0.5 + 1e-9, 0.5, 0)
    assert not oracle_right("mbpp_plus", "f", (), 20000000, 20000001, 0)


def test_a_free_pass_of_evalplus_is_none_here() -> None:
    """Its oracle of Mbpp/164 accepts every answer."""
    assert not oracle_right("mbpp_plus", "are_equivalent", (1, 2), None, False, 0)


def test_base_stands_beside_plus_and_a_program_right_on_the_base_inputs_alone_counts_there(tmp_path: Path) -> None:
    def answer(request: wmtp.GenerationRequest) -> str:
        return "def similar_elements(a, b):\n    return [4, 5]\n" if request.key.problem == "Mbpp/2" else "x = 1\n"

    found = run(tmp_path, answer, ["mbpp_plus_pass@1", "mbpp_base_pass@1"])
    assert found.metrics["mbpp_plus_pass@1"].value == 0
    assert found.metrics["mbpp_base_pass@1"].value == pytest.approx(1 / 9)


def test_the_hubs_rows_give_no_base_score_and_say_which_file_does(tmp_path: Path) -> None:
    row = {
        "task_id": 901, "code": "def twice(x):\n    return 2 * x\n", "prompt": "Double it.",
        "test_list": ["assert twice(1) == 2"],
        "test": "inputs = [[1], [2]]\nassertion(twice(*inp), exp, 0)\n",
    }  # fmt: skip
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(row) + "\n", encoding="utf-8")
    right = run(tmp_path / "a", lambda request: row["code"], ["mbpp_plus_pass@1"], rows=data)
    assert right.metrics["mbpp_plus_pass@1"].value == 1
    with pytest.raises(wmtp.ConfigError, match="does not say which inputs are the base ones"):
        run(tmp_path / "b", lambda request: row["code"], ["mbpp_plus_pass@1", "mbpp_base_pass@1"], rows=data)


def test_known_bad_problems_stay_in_the_score_and_the_report_gives_the_one_without(tmp_path: Path) -> None:
    data = tmp_path / "MbppPlus.jsonl"
    row = {
        "task_id": "Mbpp/1", "prompt": '"""Twice."""\n', "entry_point": "twice",
        "canonical_solution": "def twice(x):\n    return 2 * x\n",
        "base_input": [[1]], "plus_input": [], "atol": 0, "contract": "", "assertion": "",
    }  # fmt: skip
    data.write_text("".join(json.dumps({**row, "task_id": f"Mbpp/{n}"}) + "\n" for n in (1, 559)), encoding="utf-8")
    right_once = lambda request: row["canonical_solution"] if request.key.problem == "Mbpp/1" else "x = 1\n"  # noqa: E731
    found = run(tmp_path / "runs", right_once, ["mbpp_plus_pass@1"], rows=data)
    assert found.metrics["mbpp_plus_pass@1"].value == 0.5
    report = (found.folder / "report.md").read_text(encoding="utf-8")
    assert "| `mbpp_plus_pass@1` | 50.0 % of 2 | 100.0 % of 1 |" in report
    assert "- Mbpp/559: the reference of MBPP+ 0.2.0 is wrong" in report
