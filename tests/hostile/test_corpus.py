"""Programs that want to pass without solving anything, or to do harm. Each is data in ``corpus/``.

Whatever a case tries, at level strict: no pass, no failure of the judge's own, nothing left on the host, and the next
programs are judged right. At level process the same, but for what docs/judging.md says is not promised there.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_corpus
import pytest

CASES = hostile_corpus.load()
LIGHT, HEAVY = ([case for case in CASES if case["heavy"] is heavy] for heavy in (False, True))
BOUND = 160.0
"""Seconds for any case on any machine, with its second program: twice what the judge waits at most, 20 times a wall limit of
3 s and a grace of ten. How long one takes without load, `test_limits.py` says."""
DOC = Path(__file__).parents[2] / "docs/judging.md"
LONG = ("answers", "exhausting", "limits")
"""Families that take as long as all others together: in CI at strict alone."""
CorpusRun = Callable[..., dict[str, dict[str, Any]]]


def _ids(cases: list[dict[str, Any]]) -> list[str]:
    return [case["id"] for case in cases]


def _slow_where(family: str, mode: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if family in LONG and mode != "strict" else []


def _holds(case: dict[str, Any], record: dict[str, Any]) -> None:
    # A program judged first may well pass where it is the second that tells whether the trick worked.
    assert record["statuses"][-1] not in ("passed", "infrastructure"), record
    assert "infrastructure" not in record["statuses"], record
    assert record["traces"] == [], record
    _judges_on(record)


def _judges_on(record: dict[str, Any]) -> None:
    assert record["after"] == ["passed", "failed", "passed"], record
    assert record["seconds"] < BOUND, record


@pytest.mark.parametrize("case", LIGHT, ids=_ids(LIGHT))
def test_strict(case: dict[str, Any], corpus_run: CorpusRun) -> None:
    _holds(case, corpus_run("strict", case["family"])[case["id"]])


AS_USER = [pytest.param(case, marks=_slow_where(case["family"], "user")) for case in LIGHT]


@pytest.mark.parametrize("case", AS_USER, ids=_ids(LIGHT))
def test_strict_as_an_ordinary_user(case: dict[str, Any], corpus_run: CorpusRun) -> None:
    _holds(case, corpus_run("user", case["family"])[case["id"]])


def _as_documented(case: dict[str, Any], record: dict[str, Any]) -> None:
    if case["process"] == "holds":
        _holds(case, record)
    else:
        _judges_on(record)
    # A row of the table that nothing shows any more is as wrong as one that is missing.
    if case["process"] == "open" and platform.machine() == "x86_64":
        assert record["statuses"][-1] == "passed" or record["traces"], record


AT_PROCESS = [
    pytest.param(case, marks=_slow_where(case["family"], "process"), id=case["id"])
    for case in LIGHT
    if case["process"] != "not run"
]


@pytest.mark.parametrize("case", AT_PROCESS)
def test_process_keeps_what_it_promises(case: dict[str, Any], corpus_run: CorpusRun) -> None:
    _as_documented(case, corpus_run("process", case["family"])[case["id"]])


@pytest.mark.parametrize("case", HEAVY, ids=_ids(HEAVY))
@pytest.mark.parametrize("mode", ["strict", "user", "process"])
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_heavy(case: dict[str, Any], mode: str, corpus_run: CorpusRun) -> None:
    if mode == "process" and case["process"] == "not run":
        pytest.skip("could harm the host")
    record = corpus_run(mode, case["family"], heavy=True)[case["id"]]
    (_as_documented if mode == "process" else _holds)(case, record)


ALL = [
    pytest.param(family, mode, marks=_slow_where(family, mode))
    for family in hostile_corpus.FAMILIES
    for mode in ("strict", "user", "process")
]


@pytest.mark.parametrize(("family", "mode"), ALL)
def test_nothing_is_left_when_the_judge_closes(family: str, mode: str, corpus_run: CorpusRun) -> None:
    assert corpus_run(mode, family)[""]["traces"] == []


def test_the_corpus_is_large_and_its_names_are_its_own() -> None:
    assert len(CASES) >= 130
    assert [name for name, count in Counter(_ids(CASES)).items() if count > 1] == []
    hidden = ("ka7", "kb2", "kc4")
    assert [c["id"] for c in CASES if any(word in c["program"] + c["second"] for word in hidden)] == []


def test_the_page_says_what_process_does_not_promise() -> None:
    """``python tests/hostile/test_corpus.py`` prints the table."""
    assert hostile_corpus.table(CASES) in DOC.read_text(encoding="utf-8")


if __name__ == "__main__":
    print(hostile_corpus.table(CASES))
