"""`wmtp score` hands in what looks like a program unread: every sample ends as if all had been parsed first."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "packages/wmtp-core/tests/kit"))

from answers import labelled

from wmtp.evaluation import driver, programs
from wmtp.evaluation.score import score

TWICE, VOWELS = "def twice(x):\n    return 2 * x\n", "def vowels(s):\n    return sum(s.count(v) for v in 'aeiou')\n"
MISTAKEN = {
    "cut off": f"{TWICE}\n\nclass More:\n    def other(self",
    "words that begin as a statement does": f"{TWICE}\nfor 3 it gives 6, from which all follows.\n",
    "a word alone behind it": f"{TWICE}\nprint = 3\nDone = END\n",
    "no Python at all": "def twice(x) -> { return 2 * x }\n",
    "wrong": "def twice(x):\n    return x\n",
    "wrong and cut off": "def twice(x):\n    return x\n\n\ndef other(",
}


def to_score() -> list[tuple[str, str]]:
    """(name that the tests call, answer)."""
    return [(task.name, text) for _, task, text, _ in labelled() if task.name in ("twice", "vowels")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tests = {
        11: ["assert twice(3) == 6", "assert twice(0) == 0"],
        12: ["assert vowels('abe') == 2", "assert vowels('x') == 0"],
    }
    rows = [
        {"task_id": number, "text": "Write it.", "code": code, "test_list": tests[number], "test_setup_code": ""}
        for number, code in ((11, TWICE), (12, VOWELS))
    ]
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def ends(
    folder: Path, answers: list[tuple[str, str]], runs: str, **more: Any
) -> dict[tuple[str, int], tuple[Any, ...]]:
    """(problem, index) → code, rule and status of a sample; of several lines the last."""
    lines = [{"task_id": 11 if name == "twice" else 12, "completion": text} for name, text in answers]
    samples = folder / "samples.jsonl"
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    results = score(
        samples, "mbpp", data=folder / "mbpp.jsonl", runs=folder / runs, overrides=["judging.level=process"], **more
    )
    assert results.complete
    return read(next((folder / runs).iterdir()))


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / kind / "mbpp-v1.jsonl").read_bytes().split(b"\n") if line]


def read(run: Path) -> dict[tuple[str, int], tuple[Any, ...]]:
    found = {(s["problem"], s["index"]): (s["code"], s["extra"]["rule"]) for s in rows(run, "samples")}
    status = {(v["problem"], v["index"]): v["status"] for v in rows(run, "verdicts")}
    assert found.keys() == status.keys()
    return {key: (*found[key], status[key]) for key in found}


def test_every_answer_ends_as_if_it_had_been_parsed_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = to_score() + [("twice", text) for text in MISTAKEN.values()] + [("vowels", VOWELS)]
    presumed = ends(folder, answers, "presumed")
    monkeypatch.setattr(programs, "MISTAKEN", 0)
    parsed = ends(folder, answers, "parsed")
    assert presumed == parsed
    assert len(parsed) == len(answers)
    assert {status for *_, status in parsed.values()} >= {"passed", "failed", "no-code"}


def test_what_was_no_program_is_parsed_judged_again_and_counted_once(folder: Path) -> None:
    counts: Counter[str] = Counter()
    answers = [("twice", text) for text in MISTAKEN.values()] + [("vowels", VOWELS)]
    end = ends(folder, answers, "runs", progress=lambda who, kind, count: counts.update({kind: count}))
    run = next((folder / "runs").iterdir())
    of = dict(zip(MISTAKEN, (end["11", index] for index in range(len(MISTAKEN))), strict=True))
    assert of["cut off"] == (f"{TWICE}\n\n", "longest prefix", "passed")
    assert of["words that begin as a statement does"][1:] == ("longest prefix", "passed")
    assert of["no Python at all"][1:] == ("as it stands", "error")
    assert of["wrong"][1:] == ("whole", "failed")
    assert of["wrong and cut off"][1:] == ("longest prefix", "failed")
    written = Counter((s["problem"], s["index"]) for s in rows(run, "samples"))
    assert max(written.values()) == 2  # presumed, and parsed
    assert written["12", 0] == 1
    assert counts["total"] == counts["sample"] == counts["verdict"] == len(answers)


def test_a_run_that_was_killed_before_it_was_parsed_goes_on_to_the_same_end(folder: Path) -> None:
    answers = [("twice", text) for text in MISTAKEN.values()] + [("vowels", VOWELS)]
    whole = ends(folder, answers, "runs")
    run = next((folder / "runs").iterdir())
    first: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows(run, "samples"):
        first.setdefault((row["problem"], row["index"]), row)
    kept = "".join(json.dumps(row) + "\n" for row in first.values())
    (run / "samples" / "mbpp-v1.jsonl").write_text(kept, encoding="utf-8")  # as it was when nothing was judged yet
    (run / "verdicts" / "mbpp-v1.jsonl").write_text("", encoding="utf-8")
    assert ends(folder, answers, "runs") == whole


def test_behind_many_that_were_no_programs_all_are_parsed_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MISTAKEN", 4)
    answers = [("twice", f"{MISTAKEN['cut off']}_{i}(") for i in range(200)] + [("vowels", VOWELS)]
    end = ends(folder, answers, "runs")
    assert Counter(status for *_, status in end.values()) == {"passed": len(answers)}
    written = len(rows(next((folder / "runs").iterdir()), "samples"))
    assert len(answers) + 4 <= written < len(answers) + 200


SLOW = f"import time\ntime.sleep(2)\n{TWICE}"


@pytest.mark.parametrize("stored", ["presumed", "presumed and parsed"])
def test_what_is_judged_late_in_a_run_that_goes_on_counts_once(folder: Path, stored: str) -> None:
    """Killed when all of a problem was stored, and nothing judged: a sample of two lines is one, and its problem is through
    when all of its samples are."""
    answers = [("twice", MISTAKEN["cut off"]), ("twice", SLOW)] + [("vowels", f"{VOWELS}# {i}\n") for i in range(300)]
    whole = ends(folder, answers, "runs")
    run = next((folder / "runs").iterdir())
    lines = [row for row in rows(run, "samples") if row["problem"] == "11"]
    kept = lines if stored == "presumed and parsed" else lines[:2]
    assert [row["index"] for row in kept] == ([0, 1, 0] if stored == "presumed and parsed" else [0, 1])
    (run / "samples" / "mbpp-v1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    (run / "verdicts" / "mbpp-v1.jsonl").write_text("", encoding="utf-8")
    counts: Counter[str] = Counter()
    assert ends(folder, answers, "runs", progress=lambda who, kind, count: counts.update({kind: count})) == whole
    assert counts["sample"] == counts["verdict"] == len(answers)
    assert len(rows(run, "verdicts")) == len(answers)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_sample_of_two_lines_is_one_in_every_count(
    folder: Path, in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "KEPT_BYTES", driver.KEPT_BYTES if in_memory else 500)
    answers = [("twice", text) for text in MISTAKEN.values()] + [("vowels", VOWELS)]
    for _ in range(2):  # the second time from the files alone
        ends(folder, answers, "runs")
        run = next((folder / "runs").iterdir())
        assert json.loads((run / "results.json").read_bytes())["generation"]["samples"] == len(answers)


def test_answers_that_do_not_parse_at_all_count_as_mistaken_too(folder: Path) -> None:
    answers = [("twice", f"{MISTAKEN['no Python at all']}# {i}\n") for i in range(300)] + [("vowels", VOWELS)]
    end = ends(folder, answers, "runs")
    assert Counter(rule for _, rule, _ in end.values()) == {"as it stands": 300, "whole": 1}
    assert len(rows(next((folder / "runs").iterdir()), "samples")) < 300 + 250
