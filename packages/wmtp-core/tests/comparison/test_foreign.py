"""Files of other tools: read as they write them, and a clear line where one is cut short."""

from __future__ import annotations

import json
import math
import os
import random
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zstandard
from click.testing import CliRunner

import wmtp
from wmtp.cli.compare import command
from wmtp.comparison.compare import compare
from wmtp.comparison.foreign import read_file
from wmtp.comparison.programs import lines as program_lines
from wmtp.comparison.table import lines
from wmtp.reports.html import write_report


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def human_eval(path: Path, passed: dict[str, list[bool]]) -> Path:
    return write(path, [
        {"task_id": task, "completion": "    return 1\n", "result": "passed" if ok else "failed: ", "passed": ok}
        for task, of in passed.items() for ok in of
    ])  # fmt: skip


def zstd_archive(path: Path, files: dict[str, bytes]) -> Path:
    """A ZIP whose members are compressed by method 93, which `zipfile` cannot write: made by hand."""
    body, directory = b"", b""
    for name, data in files.items():
        packed, encoded = zstandard.ZstdCompressor().compress(data), name.encode()
        common = struct.pack("<HHHHHIIIHH", 45, 0, 93, 0, 0, zlib.crc32(data), len(packed), len(data), len(encoded), 0)
        directory += (
            b"PK\x01\x02" + struct.pack("<H", 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + encoded
        )
        body += b"PK\x03\x04" + common + encoded + packed
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(files), len(files), len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path


def test_human_evals_results_are_compared(tmp_path: Path) -> None:
    a = human_eval(tmp_path / "a_results.jsonl", {f"HumanEval/{i}": [i % 2 == 0, False] for i in range(60)})
    b = human_eval(tmp_path / "b_results.jsonl", {f"HumanEval/{i}": [True, i % 3 == 0] for i in range(60)})
    found = compare([a, b])
    one = found.comparisons[0]
    assert (one.metric, one.verdict, one.found.a) == ("pass@1", "better", 0.25)
    assert "nobody here judged" in found.notes[0]
    assert not found.to_json()["runs"][0]["judged_here"]


def test_evalplus_results_have_two_metrics(tmp_path: Path) -> None:
    tasks = {
        f"HumanEval/{i}": [
            {"task_id": "", "solution": "", "base_status": "pass", "plus_status": "pass" if i % 2 else "fail"}
        ]
        for i in range(10)
    }
    path = tmp_path / "eval_results.json"
    path.write_text(json.dumps({"date": "2026", "hash": "x", "eval": tasks}))
    assert read_file(path).metrics == {"base_pass@1": 1.0, "plus_pass@1": 0.5}


def test_bigcodes_logs_are_read_and_its_generations_are_sent_to_the_judge(tmp_path: Path) -> None:
    path = tmp_path / "logs.json"
    path.write_text(json.dumps({"0": [[0, {"passed": True}], [1, {"passed": False}]], "1": [[0, {"passed": True}]]}))
    assert read_file(path).metrics == {"pass@1": 0.75}
    generations = tmp_path / "generations.json"
    generations.write_text(json.dumps([["def f(): ..."], ["x"]]))
    with pytest.raises(wmtp.ConfigError, match="wmtp score"):
        read_file(generations)


def test_lm_evals_samples_are_scores_by_filter_and_copies_are_called_so(tmp_path: Path) -> None:
    rows = [
        {"doc_id": i, "filter": f, "metrics": ["pass_at_1"], "pass_at_1": float(i % 2), "doc_hash": f"d{i}", "prompt_hash": "p",
         "resps": [["x", "x"]], "filtered_resps": [["def f(): pass", "def f(): pass"]]}
        for i in range(8) for f in ("create_test", "other")
    ]  # fmt: skip
    found = read_file(write(tmp_path / "samples_humaneval.jsonl", rows))
    assert found.metrics == {"pass_at_1": 0.5, "pass_at_1 (other)": 0.5}
    same = write(tmp_path / "samples_same.jsonl", [{**r, "pass_at_1": 1.0} for r in rows])
    assert any("copies" in note for note in compare([tmp_path / "samples_humaneval.jsonl", same]).notes)
    other = write(tmp_path / "samples_b.jsonl", [{**r, "doc_hash": "changed"} for r in rows])
    with pytest.raises(wmtp.ConfigError, match="8 rows differ"):
        compare([tmp_path / "samples_humaneval.jsonl", other])


def lm_eval(path: Path, **metrics: list[Any]) -> Path:
    return write(path, [
        {"doc_id": i, "metrics": list(metrics), "doc_hash": f"d{i}", "prompt_hash": "p", "resps": [[f"{path.name} {i}"]],
         **dict(zip(metrics, values, strict=True))}
        for i, values in enumerate(zip(*metrics.values(), strict=True))
    ])  # fmt: skip


def test_lm_evals_perplexity_of_a_request_is_its_log_likelihood(tmp_path: Path) -> None:
    worse = lm_eval(tmp_path / "a.jsonl", perplexity=[-4.0 - i / 10 for i in range(30)])
    better = lm_eval(tmp_path / "b.jsonl", perplexity=[-2.0 - i / 9 for i in range(30)])
    found = compare([worse, better])
    one = found.comparisons[0]
    assert (one.metric, one.verdict, one.lower_is_better) == ("perplexity_log_likelihood", "better", False)
    assert any("perplexity holds each problem's log-likelihood" in note for note in found.notes)
    assert not any("counts as better" in note for note in found.notes)
    stated = lm_eval(tmp_path / "c.jsonl", perplexity=[4.0 + i for i in range(30)])
    assert list(read_file(stated).metrics) == ["perplexity"], "a task of somebody's own may state perplexities"


def test_lm_evals_pairs_are_values_a_word_or_byte(tmp_path: Path) -> None:
    pairs = [[-6.0 - i, 2 + i % 3] for i in range(30)]
    a = lm_eval(tmp_path / "a.jsonl", word_perplexity=pairs, byte_perplexity=pairs, bits_per_byte=pairs, f1=pairs)
    b = lm_eval(tmp_path / "b.jsonl", **{
        m: [[ll - 1, n] for ll, n in pairs] for m in ("word_perplexity", "byte_perplexity", "bits_per_byte", "f1")
    })  # fmt: skip
    found = compare([a, b])
    assert {c.metric: c.verdict for c in found.comparisons} == dict.fromkeys(
        ["nats_per_word", "nats_per_byte", "bits_per_byte"], "worse"
    )
    assert read_file(a).values["nats_per_word"]["1"] == 7 / 3
    assert read_file(a).values["bits_per_byte"]["1"] == pytest.approx(7 / 3 / math.log(2))
    assert any("the tool's own total weighs them by length" in note for note in found.notes)
    for wrong in ([-1.0, 0], [-1.0], [float("nan"), 2], ["x", 2], [True, 2], [-1.0, -2]):
        assert list(read_file(lm_eval(tmp_path / "c.jsonl", word_perplexity=[wrong], acc=[1])).metrics) == ["acc"]
    with pytest.raises(wmtp.ConfigError, match="of f1 it holds what a score of all problems together is made of"):
        read_file(lm_eval(tmp_path / "d.jsonl", f1=pairs))


def test_losses_of_which_most_differ_alike_have_an_interval_that_json_can_hold(tmp_path: Path) -> None:
    a = [2.0 + 0.1 * i for i in range(12)]
    b = [a[0] + 0.5, a[1] - 0.5, *a[2:]]
    paths = [str(lm_eval(tmp_path / f"samples_{n}.jsonl", loss=of)) for n, of in (("a", a), ("b", b))]
    done = CliRunner().invoke(command, [*paths, "--json"])
    assert done.exit_code == 0

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    (one,) = json.loads(done.stdout, parse_constant=refuse)["comparisons"]
    assert one["low"] < 0 < one["high"]


@pytest.mark.parametrize("problems", [1, 2, 4, 24])
def test_losses_that_differ_alike_are_not_called_equivalent(tmp_path: Path, problems: int) -> None:
    def pair(gain: float, base: float) -> list[Path]:
        return [
            lm_eval(tmp_path / f"samples_{n}.jsonl", loss=[base + i + n * gain for i in range(problems)])
            for n in (0, 1)
        ]

    for base in (2.5, 2500.1):  # 2500.2 − 2500.1 and 2501.2 − 2501.1 differ by rounding
        found = compare(pair(0.001, base), equivalent=0.01)
        (one,) = found.comparisons
        assert "(95 %)" not in "\n".join(lines(found))
        assert one.verdict == ("worse" if problems == 24 else "undecided")
    (one,) = compare(pair(0, 2.5), equivalent=0.01).comparisons
    assert one.verdict == ("equivalent" if problems == 24 else "undecided")


def test_one_problem_of_no_share_has_no_interval(tmp_path: Path) -> None:
    paths = [lm_eval(tmp_path / f"samples_{n}.jsonl", loss=[2.5 + n / 1000]) for n in range(3)]
    found = compare(paths, equivalent=0.01)
    told = found.to_json()
    jsonschema.validate(
        told, json.loads((Path(wmtp.__file__).parent / "comparison/comparison.schema.json").read_text())
    )
    assert [(one["low"], one["high"], one["these_problems"]) for one in told["comparisons"]] == [
        (None, None, {"low": None, "high": None})
    ] * 2
    assert (told["trends"][0]["low"], told["trends"][0]["high"]) == (None, None)
    text = "\n".join(lines(found))
    assert text.count("no interval  (one problem does not tell how far others may lie)") == 2
    assert "a run (no interval), p" in text
    page = write_report(paths, tmp_path / "page.html", found=found).read_text()
    assert "no interval" in page


def test_scores_of_one_problem_are_not_called_equivalent(tmp_path: Path) -> None:
    paths = [lm_eval(tmp_path / f"samples_{n}.jsonl", f1=[0.5 + n / 1000]) for n in range(2)]
    assert compare(paths, equivalent=0.01).comparisons[0].verdict == "undecided"


def test_names_that_say_no_direction_are_told_once(tmp_path: Path) -> None:
    values = [float(i) for i in range(20)]
    a, b = (lm_eval(tmp_path / f"{n}.jsonl", acc=values, zeal=values, wer=values, odd=values) for n in "ab")
    assert [note for note in compare([a, b]).notes if "better" in note] == [
        "a larger value counts as better: zeal, odd"
    ]


def inspect_json(path: Path, values: list[Any], scorer: str = "verify") -> Path:
    samples = [
        {"id": f"s{i}", "epoch": 1, "scores": {scorer: {"value": v}}, "output": {}} for i, v in enumerate(values)
    ]
    path.write_text(json.dumps({"status": "success", "plan": {}, "eval": {"task": "t"}, "samples": samples}))
    return path


@pytest.mark.parametrize("partial", ["P", 0.5])
def test_a_partial_grade_makes_no_log_of_inspects_incomparable(tmp_path: Path, partial: Any) -> None:
    a = inspect_json(tmp_path / "a.json", ["I"] * 30)
    b = inspect_json(tmp_path / "b.json", ["C"] * 29 + [partial])
    for one, other, value in ((a, b, 0.0), (b, a, 29.5 / 30)):
        found = compare([one, other])
        assert [(c.metric, c.found.a) for c in found.comparisons] == [("verify", pytest.approx(value))]
        assert any("compared as scores" in note for note in found.notes)
    page = write_report([a, b], tmp_path / "page.html").read_text()
    assert "verify_pass@1" not in page
    c = inspect_json(tmp_path / "c.json", ["C"] * 30)
    assert [of.metric for of in compare([a, c]).comparisons] == ["verify_pass@1"]
    assert [of.metric for of in compare([a, c, b]).comparisons] == ["verify", "verify"]


def test_scores_that_inspect_writes_as_words_or_digits_are_read_as_it_reads_them(tmp_path: Path) -> None:
    a = inspect_json(tmp_path / "a.json", ["no", "No", "FALSE", "0", "0.0", "I"] * 5)
    b = inspect_json(tmp_path / "b.json", ["yes", "YES", "True", "1", "1.0", "C"] * 5)
    (one,) = compare([a, b]).comparisons
    assert (one.metric, one.verdict, one.found.problems) == ("verify_pass@1", "better", 30)
    assert (one.found.a, one.found.b) == (0, 1)
    found = read_file(inspect_json(tmp_path / "c.json", ["0.25", "7", "y", "c", "", "nan", "inf", "-infinity"]))
    assert found.values["verify"] == {"s0": 0.25, "s1": 7.0}
    with pytest.raises(wmtp.ConfigError, match="too large"):
        read_file(inspect_json(tmp_path / "d.json", ["1e200"]))


def test_means_of_one_score_are_that_score_whatever_the_epochs(tmp_path: Path) -> None:
    def log(name: str, epochs: int) -> Path:
        samples = [
            {"id": f"s{i}", "epoch": e, "scores": {"f1": {"value": value}}, "output": {}}
            for i, value in enumerate([0.1, 0.5] * 6)
            for e in range(1, epochs + 1)
        ]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"status": "success", "plan": {}, "eval": {"task": "t"}, "samples": samples}))
        return path

    (one,) = compare([log("a", 3), log("b", 1)]).comparisons
    assert (one.verdict, one.found.difference, one.found.discordant, one.found.p_value) == ("undecided", 0, 0, 1)
    assert not one.gained
    assert not one.lost


@pytest.mark.parametrize("count", [3, 5, 7, 8, 9, 12])
def test_checkpoints_that_are_alike_have_no_trend(tmp_path: Path, count: int) -> None:
    scores, losses = [0.3, 0.1, 1 / 3, 0.7] * 6, [2.3, 0.1, 1e6 / 3] * 8
    paths = [lm_eval(tmp_path / f"samples_{n}.jsonl", f1=scores, loss=losses) for n in range(count)]
    for trend in compare(paths).trends:
        assert (trend.slope, trend.p_value) == (0, 1), trend


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    draw = random.Random(1)
    losses = [{f"p{i}": [draw.gauss(3, 1)] for i in range(40)} for _ in range(3)]
    passes = [
        {f"p{i}": [float(draw.random() < 0.5) for _ in range(draw.randint(40, 99))] for i in range(40)} for _ in losses
    ]

    def logs(name: str, order: list[int]) -> list[Path]:
        paths = []
        for number, scorers in enumerate(zip(losses, passes, strict=True)):
            samples = [
                {"id": p, "epoch": e, "scores": {s: {"value": v}}, "output": {}}
                for s, of in zip(("loss", "right"), scorers, strict=True)
                for p in [[*of][i] for i in order]
                for e, v in enumerate(of[p], 1 if s == "loss" else 2)
            ]
            paths.append(tmp_path / f"{name}{number}.json")
            paths[-1].write_text(
                json.dumps({"status": "success", "eval": {"task": "t"}, "plan": {}, "samples": samples})
            )
        return paths

    order = list(range(40))
    one, other = compare(logs("a", order)), compare(logs("b", draw.sample(order, 40)))
    assert [c.metric for c in one.comparisons] == ["loss"] * 2 + ["right_pass@1"] * 2
    assert [c.found for c in one.comparisons] == [c.found for c in other.comparisons]
    assert [(t.low, t.high, t.p_value) for t in one.trends] == [(t.low, t.high, t.p_value) for t in other.trends]


def test_a_scorer_of_errors_that_are_none_or_one_counts_no_passes(tmp_path: Path) -> None:
    a, b = (inspect_json(tmp_path / f"{v}.json", [v] * 30, "wer") for v in (0, 1))
    assert compare([a, b]).comparisons[0].verdict == "worse"


@pytest.mark.parametrize(
    "line",
    ['{"task_id": "A", "passed": true, "passed": false}', '{"doc_id": 1, "metrics": ["m"], "m": 1, "m": 0}',
     '{"task_id": "A", "passed": true}\n{"task_id": "B", "task_id": "A", "passed": true}'],
)  # fmt: skip
def test_a_key_twice_in_a_line_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "twice.jsonl"
    for end in ("", "\n"):
        path.write_text(line + end)
        with pytest.raises(wmtp.ConfigError, match=r"line \d: damaged: has the key .* twice in one object\.$"):
            read_file(path)


def test_a_key_twice_in_a_sample_of_inspects_is_refused(tmp_path: Path) -> None:
    sample = b'{"id": "a", "epoch": 1, "scores": {"s": {"value": 1}, "s": {"value": 0}}}'
    with pytest.raises(wmtp.ConfigError, match="'s' twice"):
        read_file(zstd_archive(tmp_path / "log.eval", {"samples/a_epoch_1.json": sample}))


def test_a_pipe_is_refused_and_nobody_waits_for_it(tmp_path: Path) -> None:
    pipe, other = tmp_path / "pipe", human_eval(tmp_path / "a.jsonl", {"a": [True]})
    os.mkfifo(pipe)
    for act in (lambda: compare([pipe, other]), lambda: write_report([pipe]), lambda: list(program_lines([pipe], "a"))):
        with pytest.raises(wmtp.ConfigError, match="neither a folder nor a regular file"):
            act()
    with pytest.raises(wmtp.ConfigError, match="regular file"):
        compare([other, Path("/dev/null")])


def test_lines_that_nobody_knows_are_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(wmtp.ConfigError, match="several JSON values, whose lines are no known tool's"):
        read_file(write(tmp_path / "x.jsonl", [{"score": 1}, {"score": 0}]))


@pytest.mark.parametrize("packed", [True, False])
def test_inspects_logs_are_read_epoch_by_epoch(tmp_path: Path, packed: bool) -> None:
    files = {"header.json": b"{}"}
    for i in range(6):
        for epoch in (1, 2):
            sample = {
                "id": f"s{i}",
                "epoch": epoch,
                "scores": {"verify": {"value": "C" if epoch == 1 else "I"}, "len": {"value": 2.5}},
            }
            files[f"samples/s{i}_epoch_{epoch}.json"] = json.dumps(sample).encode()
    path = tmp_path / "log.eval"
    if packed:
        zstd_archive(path, files)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    found = read_file(path)
    assert found.metrics == {"verify_pass@1": 0.5, "len": 2.5}
    assert found.judged["verify"].passed["s3"] == {1: True, 2: False}


def test_a_log_of_inspects_is_read_without_zstandard_by_pyarrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    path = zstd_archive(
        tmp_path / "log.eval", {"samples/a_epoch_1.json": b'{"id": "a", "epoch": 1, "scores": {"s": {"value": 1}}}'}
    )
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    assert read_file(path).metrics == {"s_pass@1": 1.0}


@pytest.mark.parametrize("kind", ["human-eval", "evalplus", "lm-eval", "inspect", "empty", "foreign", "samples"])
def test_files_that_are_cut_short_or_foreign_get_a_clear_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "human-eval":
        human_eval(path, {"a": [True], "b": [False]})
    elif kind == "evalplus":
        path.write_text(json.dumps({"eval": {"a": [{"base_status": "pass"}]}}))
    elif kind == "lm-eval":
        write(path, [{"doc_id": i, "metrics": ["m"], "m": 1} for i in range(3)])
    elif kind == "inspect":
        zstd_archive(
            path, {f"samples/a_epoch_{i}.json": b'{"id": "a", "epoch": 1, "scores": {}}' * 20 for i in range(3)}
        )
    elif kind == "foreign":
        path.write_text("metric,value\n")
    elif kind == "samples":
        write(path, [{"task_id": "a", "completion": "x"}])
    else:
        path.write_bytes(b"")
    if kind in ("human-eval", "evalplus", "lm-eval", "inspect"):
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(wmtp.ConfigError) as refused:
        read_file(path)
    assert str(path) in str(refused.value)
