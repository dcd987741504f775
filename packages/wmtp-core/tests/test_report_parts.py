"""Parts of report.html that need no browser: Markdown of evaluators, charts, names."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re

import pytest
from markupsafe import Markup

from wmtp.reports import html
from wmtp.reports.charts import columns, short_names, visible
from wmtp.reports.rundata import ReportRun, ReportSample
from wmtp.reports.said import curves, parts


def test_markdown_of_evaluators_becomes_parts() -> None:
    lines = [
        "# Head",
        "",
        "Text.",
        "- item",
        "```python",
        "x = '|'",
        "```",
        "| a | b |",
        "|---|---:|",
        "| `f` | 2 |",
        "| 3 |",
    ]
    found = list(parts(lines))
    assert [part.kind for part in found] == ["h", "p", "li", "pre", "table"]
    assert found[3].text == "x = '|'"
    assert (found[4].head, found[4].rows) == (("a", "b"), (("f", "2"), ("3", "")))


@pytest.mark.parametrize("lines", [["```"], ["|"], ["| a |", "|---|"], ["| a |"], ["|---|", "|---|"], ["#"], ["", " "]])
def test_markdown_that_breaks_off_is_no_error(lines: list[str]) -> None:
    for part in parts(lines):
        assert list(curves(part)) == []


def table(
    *rows: str, head: str = "| month | problems | `pass@1` |"
) -> list[tuple[str, list[tuple[str, float, float, float]]]]:
    return list(curves(next(iter(parts([head, "|---|---:|---:|", *rows])))))


def test_a_table_by_month_is_a_curve_with_intervals() -> None:
    ((name, points),) = table("| 2024-01 | 30 | 40.0 % |", "| 2024-02 | 5 | 20.0 % (10.0 – 35.5) |")
    assert name == "pass@1"
    assert points[0][:2] == ("2024-01", 0.4)
    assert 0.2 < points[0][2] < 0.4 < points[0][3] < 0.65  # the widest that 30 problems can have
    assert points[1] == ("2024-02", 0.2, 0.1, 0.355)
    assert columns(points, title="x").count('class="bar"') == 2


def test_what_is_no_share_by_month_is_no_curve() -> None:
    assert table("| 2024-01 | 30 | — |", "| 2024-02 | 5 | 20.0 % |") == []
    assert table("| a | 30 | 10.0 % |", "| b | 5 | 20.0 % |") == []
    assert table("| 2024-01 | 30 | 10.0 % |") == []


def test_many_months_have_labels_that_can_be_read() -> None:
    points = [(f"{2023 + m // 12}-{m % 12 + 1:02d}", 0.5, 0.4, 0.6) for m in range(40)]
    drawn = columns(points, title="x")
    assert "…" not in drawn
    assert 5 < sum(f">{month}<" in drawn for month, *_ in points) < 20


def test_names_lose_what_all_share_up_to_a_word() -> None:
    names = [f"my-long-run-of-today-step-{n}000-final-checkpoint" for n in (1, 2, 13)]
    assert short_names(names, 16) == ["…1000…", "…2000…", "…13000…"]
    assert short_names(["a", "b"], 16) == ["a", "b"]
    assert short_names(["x" * 40, "x" * 40], 16) == ["x" * 40, "x" * 40]
    assert short_names(["x" * 40], 16) == ["x" * 40]


def test_what_would_not_be_seen_is_shown_as_an_escape() -> None:
    assert visible("a\u202eb\x00\n\t한") == "a\\u202eb\\u0000\n\t한"
    assert visible(Markup("\u202e")) == "\u202e"
    assert visible(3) == 3


def test_a_page_that_would_be_too_large_keeps_the_first_programs_of_each_problem_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = random.Random(5)
    samples = {
        problem: [
            ReportSample(index=i, code=noise.randbytes(200).hex(), status="passed", detail="", tokens=1, seconds=0)
            for i in range(8)
        ]
        for problem in ("a", "b")
    }
    run = ReportRun(name="r", model="m", finished="", metrics={}, samples=samples)

    def drawn() -> tuple[list[list[str | None]], str]:
        page = html.render([run], None)
        packed = re.search(r' id="data">([^<]*)<', page)
        assert packed
        data = json.loads(gzip.decompress(base64.b64decode(packed[1])))
        programs = [*data["programs"], None]  # -1 is the last
        return [[programs[row[1]] for row in of] for (of,) in data["samples"]], page

    whole, page = drawn()
    assert whole == [[s.code for s in of] for of in samples.values()]
    assert "has room for" not in page
    monkeypatch.setattr(html, "MOST_PACKED", 2_000)
    found, page = drawn()
    kept = sum(program is not None for program in found[0])
    assert 0 < kept < 8
    assert found == [[*of[:kept], *[None] * (8 - kept)] for of in whole]
    assert f"samples below {kept}, of 0 to 7" in page
