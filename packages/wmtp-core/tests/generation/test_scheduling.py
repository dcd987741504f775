"""Requests that wait: whatever the window holds, each comes out once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import wmtp.generation.scheduling
from wmtp.contracts.engines import GenerationRequest, SampleKey
from wmtp.generation.scheduling import WaitingQueue


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 12), st.booleans())
def test_every_request_comes_out_once_where_a_prompt_has_more_samples_than_the_window(
    prompts: list[int], window: int, shortest_first: bool
) -> None:
    requests = [
        GenerationRequest(key=SampleKey(evaluator="e", problem=str(p), index=i), prompt="x" * (p + 1))
        for i, p in enumerate(prompts)
    ]
    before, wmtp.generation.scheduling.LOOK_AHEAD = wmtp.generation.scheduling.LOOK_AHEAD, window
    try:
        queue = WaitingQueue(requests, lambda r: [0] * len(r.prompt or ""), shortest_first=shortest_first)
        found = []
        while queue.waiting() and (taken := queue.next()) is not None:
            found.append(taken[1].key)
    finally:
        wmtp.generation.scheduling.LOOK_AHEAD = before
    assert sorted(found) == sorted(r.key for r in requests)


@given(st.integers(1, 9), st.integers(1, 12))
def test_how_many_can_come_is_never_less_than_what_comes(count: int, window: int) -> None:
    requests = [GenerationRequest(key=SampleKey(evaluator="e", problem="p", index=i), prompt="x") for i in range(count)]
    before, wmtp.generation.scheduling.LOOK_AHEAD = wmtp.generation.scheduling.LOOK_AHEAD, window
    try:
        queue = WaitingQueue(requests, lambda r: [0])
        assert queue.next() is not None
        assert queue.at_most() == (count - 1 if window > count else None)
    finally:
        wmtp.generation.scheduling.LOOK_AHEAD = before
