"""From what an engine counted of its drafts to the rates that are reported."""

from __future__ import annotations

from collections.abc import Sequence

from wmtp.contracts.engines import GenerationStats
from wmtp.contracts.runs import SpeculationRecord
from wmtp.statistics.shares import Share


def speculation(stats: GenerationStats) -> SpeculationRecord | None:
    """The record of a run's drafts; ``None`` where no completion had any, or the engine does not count them by steps."""
    if not stats.histogram or not sum(stats.histogram):
        return None
    steps, accepted = sum(stats.histogram), sum(stats.accepted)
    return SpeculationRecord(
        num_drafts=steps,
        num_draft_tokens=sum(stats.drafted),
        num_accepted_tokens=accepted,
        num_accepted_tokens_per_pos=stats.accepted,
        per_position_acceptance_rate=_rates(stats.accepted, stats.drafted),
        per_position_interval=tuple(_interval(stats, depth) for depth in range(len(stats.drafted))),
        conditional_acceptance_rate=_rates(stats.accepted, stats.reached),
        acceptance_histogram=stats.histogram,
        mean_acceptance_length=round(1 + accepted / steps, 4),
        request_acceptance_length=round(stats.request_length / stats.requests, 4) if stats.requests else None,
    )


def _rates(right: Sequence[int], of: Sequence[int]) -> tuple[float | None, ...]:
    return tuple(round(a / b, 4) if b else None for a, b in zip(right, of, strict=True))


def _interval(stats: GenerationStats, depth: int) -> tuple[float, float] | None:
    pairs = [
        (float(accepted[depth]), float(drafted[depth]))
        for drafted, accepted in stats.by_problem.values()
        if depth < len(drafted)
    ]
    share = Share.of(pairs).within(0, 1)
    return None if share.low is None or share.high is None else (round(share.low, 4), round(share.high, 4))
