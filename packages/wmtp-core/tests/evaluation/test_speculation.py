"""What is counted of drafts: nothing behind a text's end, and rates under the names that they have elsewhere."""

from __future__ import annotations

import pytest

from wmtp.contracts.engines import GenerationRequest, GenerationStats, SampleKey
from wmtp.contracts.runs import GenerationRecord
from wmtp.evaluation.report import _generation
from wmtp.evaluation.speculation import speculation
from wmtp.generation.sequences import ActiveSequence, Counters
from wmtp.kit.spreading import summed
from wmtp.reports.charts import bars


def row(problem: str, tokens: int, steps: list[tuple[int, int]], end: int | None = None) -> ActiveSequence:
    request = GenerationRequest(key=SampleKey(evaluator="e", problem=problem, index=0), prompt="x")
    return ActiveSequence(request, b"", None, 99, 0.0, 0, list(range(tokens)), steps=steps, end=end)  # type: ignore[arg-type]


def counted(*rows: ActiveSequence, depth: int = 3) -> GenerationStats:
    counters = Counters()
    counters.draft(depth)
    for one in rows:
        counters.finished(one)
    return counters.stats()


def test_drafts_behind_the_end_are_not_counted() -> None:
    """Seven tokens: a step at token 0 with three right, one at token 4 of whose drafts only two lie in the text."""
    stats = counted(row("a", 7, [(0, 3), (4, 3)]))
    assert (stats.drafted, stats.accepted, stats.histogram) == ((2, 2, 1), (2, 2, 1), (0, 0, 1, 1))
    stats = counted(row("a", 6, [(0, 3), (4, 3)], end=2))
    assert stats.drafted == (2, 2, 1), "the end token is one of the text's"


def test_rates_are_by_position_with_and_without_condition() -> None:
    stats = counted(row("a", 20, [(0, 1), (2, 0), (3, 3), (7, 2)]), row("b", 20, [(0, 2)]))
    found = speculation(stats)
    assert found is not None
    assert (found.num_drafts, found.num_draft_tokens, found.num_accepted_tokens) == (5, 15, 8)
    assert found.num_accepted_tokens_per_pos == (4, 3, 1)
    assert found.per_position_acceptance_rate == (0.8, 0.6, 0.2)
    assert found.conditional_acceptance_rate == (0.8, 0.75, 0.3333)
    assert found.acceptance_histogram == (1, 1, 2, 1)
    assert found.mean_acceptance_length == 2.6
    assert found.request_acceptance_length == pytest.approx((2.5 + 3) / 2)
    assert all(span is not None for span in found.per_position_interval)


def test_sessions_are_added_up() -> None:
    one, two = counted(row("a", 9, [(0, 1)])), counted(row("a", 9, [(0, 2)]), row("b", 9, [(0, 0)]))
    both = counted(row("a", 9, [(0, 1)]), row("a", 9, [(0, 2)]), row("b", 9, [(0, 0)]))
    assert speculation(summed(one, two)) == speculation(both)
    assert speculation(summed(GenerationStats(tokens=3), two)) == speculation(two), (
        "a session before there were such counts"
    )


def test_a_run_without_drafts_says_nothing_of_them() -> None:
    assert speculation(GenerationStats(tokens=9, rows=9)) is None
    assert speculation(counted()) is None


def test_the_report_shows_acceptance_by_depth_with_intervals() -> None:
    found = speculation(counted(row("a", 20, [(0, 1), (2, 0), (3, 3)]), row("b", 20, [(0, 2), (3, 1)]), depth=2))
    lines = "\n".join(_generation(GenerationRecord(acceptance=(0.8, 0.4), speculation=found)))
    assert "| tokens a step that drafted, the bonus token included | 2.2 |" in lines
    assert "| 1 | 80.0 % |" in lines
    assert "| 2 | 40.0 % |" in lines
    assert "drafts of extra head" not in lines, "the older row says the same"
    assert '<line class="whisker"' in bars([0.8, 0.4], title="x", spans=[(0.7, 0.9), None])
