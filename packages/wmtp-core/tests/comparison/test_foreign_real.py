"""Files that the tools themselves wrote (``tools/README.md``): the numbers they printed, and ways of spoiling such a file."""

from __future__ import annotations

import base64
import codecs
import contextlib
import copy
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.comparison.archive import members
from wmtp.comparison.compare import compare
from wmtp.comparison.foreign import read_file
from wmtp.comparison.plan import lines as plan_lines
from wmtp.comparison.programs import lines as program_lines
from wmtp.comparison.table import lines
from wmtp.reports.html import render, write_report
from wmtp.reports.rundata import read_runs

TOOLS = Path(__file__).parent / "tools"
PRINTED = {
    "human_eval_results.jsonl": {"pass@1": 0.2916666666666667},
    "evalplus_eval_results.json": {"base_pass@1": 0.708, "plus_pass@1": 0.458},
    "samples_lm_eval.jsonl": {"exact_match (first)": 0.5, "exact_match (most)": 0.2},
    "inspect.eval": {"match_pass@1": 0.75, "length": 1.25},
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_numbers_are_those_that_the_tool_printed(name: str) -> None:
    assert read_file(TOOLS / name).metrics == pytest.approx(PRINTED[name], abs=5e-4)


def test_pass_at_another_k_is_human_evals_own(tmp_path: Path) -> None:
    a = TOOLS / "human_eval_results.jsonl"
    b = tmp_path / "b_results.jsonl"
    b.write_text(a.read_text().replace('"passed": false', '"passed": true'))
    one = compare([a, b], metrics=["pass@2"]).comparisons[0]
    assert (one.found.a, one.found.b) == (pytest.approx(0.5138888888888888), 1.0)


@pytest.mark.parametrize("name", PRINTED)
def test_a_file_cut_anywhere_gets_a_line_that_names_it(tmp_path: Path, name: str) -> None:
    data = (TOOLS / name).read_bytes()
    path = tmp_path / "cut"
    ends = {n + 1 for n, byte in enumerate(data) if byte == 10} | {n for n, byte in enumerate(data) if byte == 10}
    places = [n for n in random.Random(name).sample(range(1, len(data)), 40) if n not in ends]  # whole lines are a file
    for place in places:
        path.write_bytes(data[:place])
        with pytest.raises(wmtp.ConfigError, match="cut"):
            read_file(path)


@pytest.mark.parametrize("name", PRINTED)
def test_a_file_with_a_byte_changed_is_read_or_refused(tmp_path: Path, name: str) -> None:
    data, draw = (TOOLS / name).read_bytes(), random.Random(name)
    path = tmp_path / "changed"
    for _ in range(60):
        spoilt = bytearray(data)
        spoilt[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(bytes(spoilt))
        with contextlib.suppress(wmtp.ConfigError):
            read_file(path)


@pytest.mark.parametrize("name", PRINTED)
def test_a_packed_file_is_called_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress((TOOLS / name).read_bytes()))
    with pytest.raises(wmtp.ConfigError, match=r"x\.gz: compressed by gzip"):
        read_file(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("metric,value\n", "no JSON"),
        ("[" * 100_000, "nested too deep"),
        ("null", "Known are"),
        ('{"eval": {}}', "no outcome"),
        ('{"eval": {"a": 3}}', "no list of samples"),
        ('{"results": {"t": {}}, "configs": {}}', "log_samples"),
        ('{"humaneval": {"pass@1": 0.3}, "config": {}}', "totals alone"),
        ('{"task_id": "a", "passed": "no"}\n', "neither true nor false"),
        ('{"task_id": null, "passed": true}\n', "record 1: the problem's name is null"),
        ('{"doc_id": [1], "metrics": ["m"], "m": 1}\n', r"record 1: the problem's name is \[1\]"),
        ('{"doc_id": 1, "metrics": ["m"], "m": 1}\n' * 2, "record 2: problem 1 .* a second time"),
        ('{"doc_id": 1, "metrics": "m", "m": 1}\n', "'metrics' is no list of names"),
        ('{"doc_id": 1, "metrics": ["m"], "m": "0.5"}\n', 'm of problem 1 is "0.5", which is no number'),
        ('{"doc_id": 1, "metrics": ["m"], "m": 1' + "0" * 400 + "}\n", "too large"),
        (
            '{"eval": {"a": [{"status": "passed"}]}}',
            'status of sample 0 of task a is "passed", none of pass, fail, timeout',
        ),
        ('{"eval": {"a": [{"status": "pass"}], "a": []}}', "has the key 'a' twice"),
        ('{"0": [[0, {"passed": true}], [0, {"passed": true}]]}', "task 0 has sample 0 twice"),
        ('{"0": [["0", {"passed": true}]]}', "not bigcode's log"),
        ('{"plan": {}, "eval": {}, "samples": [3]}', "no object"),
        (
            '{"plan": {}, "eval": {}, "samples": [{"id": "a", "epoch": 1}, {"id": "a", "epoch": 1}]}',
            "'a' of epoch 1 .* twice",
        ),
        ('{"task_id": "a", "passed": true}\n{"doc_id": 1, "metrics": []}\n', "record 2"),
        ('{"doc_id": 1, "metrics": ["m"], "m": NaN}\n', "is nan"),
        ('{"doc_id": 1, "metrics": ["m"]}\n', "no value of it"),
        ('{"status": "success", "plan": {}, "eval": {}}', "without samples"),
    ],
)
def test_wrong_and_mixed_files_get_a_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(wmtp.ConfigError, match=said) as refused:
        read_file(path)
    assert str(path) in str(refused.value)


def test_the_form_is_told_by_what_is_in_a_file_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "results.txt"
    path.write_bytes((TOOLS / "inspect.eval").read_bytes())
    assert read_file(path).form == "inspect"


def test_a_log_of_inspects_that_did_not_end_well_is_refused(tmp_path: Path) -> None:
    log = json.loads(next(data for _, data in members(TOOLS / "inspect.eval", "header.json")))
    samples = [json.loads(data) for _, data in members(TOOLS / "inspect.eval", "samples/")]
    path = tmp_path / "log.json"
    path.write_text(json.dumps({**log, "samples": samples}))
    assert read_file(path).metrics == PRINTED["inspect.eval"]
    path.write_text(json.dumps({**log, "status": "cancelled", "samples": samples[:3]}))
    with pytest.raises(wmtp.ConfigError, match="'cancelled'"):
        read_file(path)
    path.write_text(json.dumps({**log, "samples": samples[:3]}))
    with pytest.raises(wmtp.ConfigError, match="counts 8 samples and it holds 3"):
        read_file(path)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda log, samples: [s.update(target="9") for s in samples if s["id"] == "p/1"], "data"),
        (lambda log, samples: [s.update(input="Else?") for s in samples if s["id"] == "p/1"], "prompt"),
        (lambda log, samples: log["eval"].update(task="other"), "task"),
        (lambda log, samples: log["eval"]["config"].update(token_limit=9), "limit token_limit"),
        (lambda log, samples: log["eval"]["scorers"][0].update(options={"numeric": True}), "scorer match"),
        (lambda log, samples: [s.update(id=f"q{i}") for i, s in enumerate(samples)], "problems"),
    ],
)
def test_logs_of_inspects_that_measured_different_things_are_refused(tmp_path: Path, change: object, key: str) -> None:
    log = json.loads(next(data for _, data in members(TOOLS / "inspect.eval", "header.json")))
    samples = [json.loads(data) for _, data in members(TOOLS / "inspect.eval", "samples/")]
    assert callable(change)
    change(log, samples)
    path = tmp_path / "log.json"
    path.write_text(json.dumps({**log, "samples": samples}))
    with pytest.raises(wmtp.ConfigError, match=f"  {key} "):
        compare([TOOLS / "inspect.eval", path])


def test_scores_that_are_no_shares_are_not_told_in_percent(tmp_path: Path) -> None:
    path = tmp_path / "b.eval"
    path.write_bytes((TOOLS / "inspect.eval").read_bytes())
    text = "\n".join(lines(compare([TOOLS / "inspect.eval", path], metrics=["length"])))
    assert "1.250 → 1.250" in text
    assert "125" not in text


def test_a_plan_needs_outcomes_and_a_metric_that_is_there() -> None:
    with pytest.raises(wmtp.ConfigError, match="no judged samples to plan with"):
        list(plan_lines([TOOLS / "samples_lm_eval.jsonl"], (), None))
    with pytest.raises(wmtp.ConfigError, match="mach_pass@1 is no metric"):
        list(plan_lines([TOOLS / "inspect.eval"], ("mach_pass@1",), None))
    assert list(plan_lines([TOOLS / "inspect.eval"], (), 0.05))


def test_a_metric_that_is_misspelt_is_named_with_what_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes((TOOLS / "evalplus_eval_results.json").read_bytes())
    with pytest.raises(wmtp.ConfigError, match=r"bas_pass@1.*Did you mean base_pass@1\?"):
        compare([TOOLS / "evalplus_eval_results.json", path], metrics=["bas_pass@1"])


SHOWN = {  # file → a problem of it, and what is shown of that
    "human_eval_results.jsonl": ("Ours/8", ["sample 0: passed", "return a + b + 8", "sample 1: failed", "human-eval's own"]),
    "evalplus_eval_results.json": (
        "HumanEval/1", ["sample 2: failed (base tests: pass; plus tests: fail; failing plus tests: [100, 1])", "if a < 50"],
    ),
    "samples_lm_eval.jsonl": ("0", ["exact_match (first) 1, exact_match (most) 0", "sample 2: scored", "\nno\n"]),
    "inspect.eval": ("p/0", ["length 1", "sample 1: passed (match: C (1); length: 1)", "scores are inspect's own"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_a_problem_of_a_file_is_shown_with_its_programs(name: str) -> None:
    problem, said = SHOWN[name]
    text = "\n".join(program_lines([TOOLS / name, TOOLS / name], problem))
    assert text.startswith("note: nobody here judged")
    assert all(part in text for part in said), text
    with pytest.raises(wmtp.ConfigError, match="no samples of problem 'nowhere'; it has"):
        list(program_lines([TOOLS / name], "nowhere"))


@pytest.mark.parametrize("name", PRINTED)
def test_a_file_has_a_page_that_says_nobody_judged_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((TOOLS / name).read_bytes())
    page = write_report([path])
    assert page == tmp_path / f"{name}.report.html"
    text = page.read_text()
    assert "nobody here judged" in text
    run = read_runs([path])[0]
    assert {metric: of.value for metric, of in run.metrics.items()} == pytest.approx(PRINTED[name], abs=5e-4)
    assert all(of.low is not None and of.low <= (of.value or 0) for of in run.metrics.values())
    assert any(sample.code for of in run.samples.values() for sample in of)


def test_two_files_have_a_page_with_differences_and_flips(tmp_path: Path) -> None:
    a, b = TOOLS / "evalplus_eval_results.json", tmp_path / "b.json"
    b.write_text(a.read_text().replace('"fail"', '"pass"'))
    found = compare([a, b])
    text = render(read_runs([a, b]), found)
    assert {c.metric for c in found.comparisons} == {"base_pass@1", "plus_pass@1"}
    assert text.count('class="flips"') == 2
    assert "where this page says that a sample passed, that is by plus" in text


def test_a_file_of_outcomes_alone_has_a_page_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bigcode.json"
    path.write_text(
        json.dumps({"0": [[0, {"passed": True, "result": "passed"}], [1, {"passed": False, "result": "timed out"}]]})
    )
    assert "bigcode.json holds scores alone: there are no programs to look at" in write_report([path]).read_text()
    text = "\n".join(program_lines([path], "0"))
    assert "sample 1: failed (timed out)\n(this file holds no programs)" in text


@pytest.mark.parametrize(
    "rows",
    [
        [
            {
                "doc_id": 0,
                "metrics": ["acc"],
                "acc": 1.0,
                "arguments": [["what?"]],
                "resps": [[[-0.5, False]], [[-1.5, True]]],
            }
        ],
        [{"doc_id": 0, "metrics": ["acc"], "acc": 1.0, "resps": None, "filtered_resps": "x", "arguments": {"gen": {}}}],
        [
            {
                "doc_id": 0,
                "metrics": ["acc"],
                "acc": 1.0,
                "resps": [["a", 3]],
                "filtered_resps": [["a", None]],
                "arguments": 7,
            }
        ],
        [{"task_id": 7, "passed": True}, {"task_id": 7, "passed": 0, "result": {"why": ["x"]}, "completion": None}],
    ],
)
def test_a_file_that_lacks_what_is_only_looked_at_is_read(tmp_path: Path, rows: list[object]) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert write_report([path]).exists()
    assert list(program_lines([path], "0" if "doc_id" in path.read_text() else "7"))


def test_counts_that_are_no_numbers_leave_a_page_whole(tmp_path: Path) -> None:
    """Python's JSON has NaN and infinity; a browser's has not, and would show no program of the page at all."""
    samples = [
        {"id": "a", "epoch": epoch, "scores": {"s": {"value": 1}}, "total_time": time,
         "output": {"completion": "x = 1", "usage": {"output_tokens": time}}}
        for epoch, time in enumerate([float("nan"), float("inf"), -float("inf"), 10**400, None, 2.5])
    ]  # fmt: skip
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"status": "success", "plan": {}, "eval": {}, "samples": samples}))
    page = write_report([path]).read_text()
    packed = page.split('id="data">')[1].split("<")[0]
    data = json.loads(gzip.decompress(base64.b64decode(packed)), parse_constant=pytest.fail)
    assert [row[5] for row in data["samples"][0][0]] == [0, 0, 0, 0, 0, 2.5]


@pytest.mark.parametrize("name", ["human_eval_results.jsonl", "evalplus_eval_results.json", "samples_lm_eval.jsonl"])
def test_a_byte_order_mark_is_passed_over_and_utf_16_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(codecs.BOM_UTF8 + (TOOLS / name).read_bytes())
    assert read_file(path).metrics == read_file(TOOLS / name).metrics
    path.write_text((TOOLS / name).read_text(), encoding="utf-16")
    with pytest.raises(wmtp.ConfigError, match="UTF-16"):
        read_file(path)


@pytest.mark.parametrize("name", PRINTED)
def test_a_value_of_another_type_is_read_or_refused(tmp_path: Path, name: str) -> None:
    """What stands in a file, one value at a time, becomes something else: never a failure of ours."""
    if name.endswith(".eval"):
        log = json.loads(next(data for _, data in members(TOOLS / name, "header.json")))
        rows: Any = {**log, "samples": [json.loads(d) for _, d in members(TOOLS / name, "samples/")]}
    elif name.endswith(".json"):
        rows = json.loads((TOOLS / name).read_text())
    else:
        rows = [json.loads(line) for line in (TOOLS / name).read_text().splitlines()]
    draw, path = random.Random(name), tmp_path / "changed"
    places = [place for place in _places(rows) if "events" not in place]
    for place in draw.sample(places, 60):
        changed = copy.deepcopy(rows)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = draw.choice([None, True, -1, 1.5, float("nan"), 10**400, "", "x", [], [[]], {}, {"a": 1}])
        lines_of = changed if isinstance(changed, list) else [changed]
        path.write_text("".join(json.dumps(row) + "\n" for row in lines_of))
        with contextlib.suppress(wmtp.ConfigError):
            "\n".join(lines(compare([TOOLS / name, path])))


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(inner, (*at, key))


def test_copies_of_a_file_are_told(tmp_path: Path) -> None:
    for name in PRINTED:
        path = tmp_path / f"copy_{name}"
        path.write_bytes((TOOLS / name).read_bytes())
        assert any("byte for byte" in note for note in compare([TOOLS / name, path]).notes)
    path.write_text((TOOLS / "human_eval_results.jsonl").read_text().replace('"passed": false', '"passed": true'))
    notes = compare([TOOLS / "human_eval_results.jsonl", path]).notes
    assert any("same text in every sample" in note and "how they were judged" in note for note in notes)
