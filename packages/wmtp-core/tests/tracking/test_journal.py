"""The journal: once each, whole lines, the same back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wmtp.contracts.tracking import TrackedRun
from wmtp.errors import ConfigError
from wmtp.tracking.journal import Artifact, Ended, Journal, Link, Numbers, journal_path, read_journal


def entries(folder: Path) -> list[object]:
    return [entry for _, entry in read_journal(journal_path(folder))]


def add(folder: Path, *found: object) -> None:
    journal = Journal(folder)
    for entry in found:
        journal.add(entry)  # type: ignore[arg-type]
    journal.close()


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    told = [
        TrackedRun(name="é", kind="training", folder="/f", time=1.5, params={"a.b": "ü\n"}, tags=("t",)),
        Numbers(values={"loss": 0.1, "up": math.inf, "down": -math.inf}, step=3, time=2.25),
        Artifact(file="report.md"),
        Link(name="checkpoint.3", target="s3://b/c"),
        Ended(status="killed", time=3.0),
    ]
    add(tmp_path, *told)
    assert entries(tmp_path) == told
    add(tmp_path, Numbers(values={"x": math.nan}, step=0, time=0.0))
    assert math.isnan(entries(tmp_path)[-1].values["x"])  # type: ignore[attr-defined]


def test_steps_that_are_logged_again_after_a_restart_are_there_once(tmp_path: Path) -> None:
    for first, last in ((1, 10), (7, 12), (1, 12)):
        add(
            tmp_path,
            *(Numbers(values={"loss": s + first / 100}, step=s, time=float(first)) for s in range(first, last + 1)),
        )
    assert [(n.step, n.time) for n in entries(tmp_path)] == [  # type: ignore[attr-defined]
        *((s, 1.0) for s in range(1, 11)), (11, 7.0), (12, 7.0),
    ]  # fmt: skip


def test_a_result_that_changed_is_said_again_and_one_that_did_not_is_not(tmp_path: Path) -> None:
    def result(value: float, step: int) -> Numbers:
        return Numbers(values={"eval/a": value, "eval/nan": math.nan}, step=step, time=1.0, result=True)

    add(tmp_path, result(0.5, 100), result(0.6, 200))
    add(tmp_path, result(0.5, 100), result(0.7, 200), result(0.6, 200))
    assert [(n.step, n.values["eval/a"]) for n in entries(tmp_path)] == [  # type: ignore[attr-defined]
        (100, 0.5), (200, 0.6), (200, 0.7), (200, 0.6),
    ]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(cut=st.integers(0, 400))
def test_cut_at_any_byte_the_whole_lines_stay_and_it_goes_on(tmp_path: Path, cut: int) -> None:
    journal_path(tmp_path).unlink(missing_ok=True)
    add(tmp_path, *(Numbers(values={"loss": 1.0}, step=s, time=1.0) for s in range(5)))
    path = journal_path(tmp_path)
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    kept = data.count(b"\n")
    assert len(entries(tmp_path)) == kept
    add(tmp_path, *(Numbers(values={"loss": 1.0}, step=s, time=1.0) for s in range(5)))
    assert [n.step for n in entries(tmp_path)] == list(range(5))  # type: ignore[attr-defined]


def test_a_damaged_line_names_its_file_and_place(tmp_path: Path) -> None:
    add(tmp_path, Artifact(file="a"))
    with journal_path(tmp_path).open("ab") as file:
        file.write(b'{"what": "nobody"}\n')
    with pytest.raises(ConfigError, match=r"journal\.jsonl, at byte \d+: damaged"):
        entries(tmp_path)
