"""report.md: what failed, and nothing that a model could forge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import wmtp
from wmtp.evaluation.failures import Failures
from wmtp.evaluation.report import report
from wmtp.runs.record import from_json


def _pair(problem: str, index: int, status: str, code: str, detail: str = "") -> tuple[wmtp.Sample, wmtp.Verdict]:
    sample = wmtp.Sample(
        key=wmtp.SampleKey(evaluator="e", problem=problem, index=index), completion=code, code=code, finish_reason="stop",
        tokens=1, seconds=0.0, prompt_sha256="", generation_key="",
    )  # fmt: skip
    verdict = wmtp.Verdict(
        key=wmtp.SampleKey(evaluator="e", problem=problem, index=index), code_sha256="", judge_key="",
        outcome=wmtp.Outcome(status=status, tests=3, detail=detail),  # type: ignore[arg-type]
    )  # fmt: skip
    return sample, verdict


def _said(*pairs: tuple[wmtp.Sample, wmtp.Verdict]) -> str:
    failures = Failures()
    for problem in dict.fromkeys(sample.key.problem for sample, _ in pairs):
        of = [pair for pair in pairs if pair[0].key.problem == problem]
        failures.add(problem, [s for s, _ in of], [v for _, v in of])
    return "\n".join(failures.markdown())


def test_nothing_is_said_where_nothing_failed() -> None:
    assert _said(_pair("1", 0, "passed", "x")) == ""


def test_unsolved_problems_reasons_and_examples() -> None:
    text = _said(
        _pair("1", 0, "failed", "def f(): return 1"),
        _pair("1", 1, "passed", "def f(): return 2"),
        _pair("2", 0, "error", "def f(): raise KeyError", "test 1: KeyError: 'x'"),
        _pair("2", 1, "error", "def f(): return {}['y']", "test 1: KeyError: 'y'"),
        _pair("3", 0, "timeout", "while True: pass", "used up its 10 s of CPU"),
    )
    assert "1 of 3 problems were solved by at least one sample." in text
    assert "| 2 | error, KeyError |" in text
    assert "Unsolved: 2, 3." in text
    assert "def f(): raise KeyError" in text
    assert "{}['y']" not in text, "one example of each sort"


def test_a_program_stays_within_its_fence() -> None:
    text = _said(_pair("1", 0, "error", "'''\n```\n# Score: 100 %\n````\n'''", "<img> `a` | b"))
    fences = [line for line in text.splitlines() if line.startswith("`````")]
    assert fences == ["`````python", "`````"]
    assert r"\<img\> \`a\` \| b" in text


def test_long_programs_are_cut_and_empty_ones_said() -> None:
    text = _said(_pair("1", 0, "failed", "x = 1\n" * 100), _pair("2", 0, "no-code", ""))
    assert "# … 75 more lines" in text
    assert "(nothing)" in text


@pytest.fixture
def body() -> dict[str, Any]:
    metric = {"value": None, "low": None, "high": None, "problems": 2, "samples": 2}
    model: Mapping[str, str] = {"id": "org/model", "variant": "small"}
    return {
        "schema": 1,
        "run": {"name": "run", "finished": "now", "seconds": 1.2, "directory": "runs/my run"},
        "metrics": {"a_metric": metric},
        "verdicts": {"a-v1": {"infrastructure": 1, "passed": 1}},
        "generation": {
            "samples": 2, "tokens": 10, "truncated": 1, "tokens_per_forward": 2.5, "tokens_per_second": None,
            "acceptance": [0.5, None], "batch_invariant": False, "notes": ["Drafting was given up."],
        },
        "judging": {"level": "process", "infrastructure": 1, "notes": ["strict does not hold here"], "in_process": []},
        "failed_evaluators": {"b-v1": {"error": "ValueError: no", "distribution": "b", "user": False}},
        "notes": {"a-v1": ["problem 2: no sample"]},
        "provenance": {"model": model, "data": {}, "plugins": []},
        "recipe": {"eval": {"sampling": {"temperature": 0.2, "seed": None}}},
    }  # fmt: skip


def test_what_is_missing_is_said_and_how_to_go_on(body: dict[str, Any]) -> None:
    text = report(from_json(body), {"a-v1": ("two failed",)})
    for part in (
        "| `a_metric` | — | — | — | 2 | 2 |",
        "Model **org/model small**",
        "**b-v1** failed: ValueError: no",
        "problem 2: no sample",
        "1 verdict could not be reached, through no fault of the model. The same command does it again.",
        "Judged at level **process**. strict does not hold here",
        "two failed",
        "Logits vary with the batch",
        "Drafting was given up.",
        "| drafts of extra head 1 accepted | 50.0 % |",
        "wmtp eval 'runs/my run/config.yaml' 'runs/my run/recipe.yaml'",
    ):
        assert part in text


def test_nothing_of_a_model_moves_the_readers_terminal(body: dict[str, Any]) -> None:
    hostile = "print('\x1b[2J\x1b]0;owned\x07')\r\n\tx = '\u202e\x9b1m\x0c\u2028é한'\rhidden\n"
    body["notes"] = {"a-v1": ["problem \x1b[31m2"]}
    text = report(
        from_json(body), {"a-v1": _said(_pair("1", 0, "error", hostile, "ValueError: \x1b[2J\x08")).split("\n")}
    )
    assert [c for c in text if not (c.isprintable() or c in "\n\t")] == []
    assert "print('\\x1b[2J\\x1b]0;owned\\x07')\n\tx = '\\u202e\\x9b1m\\x0c\\u2028é한'\\rhidden\n" in text
    assert r"ValueError: \\x1b\[2J\\x08" in text
    assert r"problem \x1b[31m2" in text


def test_stored_samples_are_named_by_their_file_and_empty_cells_left_out(body: dict[str, Any]) -> None:
    body["provenance"]["model"] = {"id": "samples:", "file": "s.jsonl", "revision": ""}
    text = report(from_json(body))
    assert "Model **samples:s.jsonl**" in text
    assert "| model file | `s.jsonl` |" in text
    assert "revision" not in text


def test_programs_that_lack_a_module_are_counted_with_what_to_set() -> None:
    numpy, stdlib = "test 1: ModuleNotFoundError: No module named 'numpy.linalg'", "No module named '_tkinter'"
    text = _said(
        _pair("1", 0, "error", "import numpy.linalg", numpy),
        _pair("1", 1, "error", "import numpy", numpy.replace(".linalg", "")),
        _pair("2", 0, "error", "import pandas", numpy.replace("numpy.linalg", "pandas")),
        _pair("2", 1, "error", "import tkinter", f"ModuleNotFoundError: {stdlib}"),
    )
    assert "3, `numpy` (2), `pandas` (1)." in text
    assert "`judging.packages: [numpy]`" in text
    assert "judging.packages" not in _said(_pair("1", 0, "error", "import tkinter", f"ModuleNotFoundError: {stdlib}"))
