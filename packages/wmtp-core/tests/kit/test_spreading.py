"""Several engines as one: every request is answered once, whoever is lost on the way."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from wmtp import Completion, GenerationError, GenerationRequest, GenerationStats, SampleKey, Sampling, WmtpError
from wmtp.kit import EngineStream, Spread, WorkerLostError


class Echo:
    """An engine that answers with the name of the request, a few at a time."""

    def __init__(self, asked: Counter[str], fails: str = "") -> None:
        self.identity = {"id": "echo"}
        self._asked, self._fails, self.count = asked, fails, 0

    def generate(self, requests: Iterator[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        for request in requests:
            if request.key.problem == self._fails:
                raise GenerationError("the engine's own fault")
            self._asked[request.key.problem] += 1
            self.count += 1
            time.sleep(0.001)
            yield Completion(key=request.key, text=request.key.problem, finish_reason="stop", tokens=1, seconds=0.0)

    @property
    def stats(self) -> GenerationStats:
        return GenerationStats(tokens=self.count)


class Near(EngineStream):
    """A worker of this process, that may be lost after it was given so many requests."""

    def __init__(self, engine: Any, versions: dict[str, str], lives: float = float("inf")) -> None:
        super().__init__(engine, versions)
        self._lives = lives

    def give(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        self._lives -= len(requests)
        if self._lives < 0:
            raise WorkerLostError("killed")
        super().give(requests, sampling)


def wanted(count: int) -> list[GenerationRequest]:
    return [GenerationRequest(key=SampleKey(evaluator="e", problem=f"p{i}", index=0), prompt="x") for i in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_request_is_answered_once(workers: int) -> None:
    asked: Counter[str] = Counter()
    engine = Spread([lambda: Near(Echo(asked), {})] * workers, window=5, patience_s=5)
    found = [c.text for c in engine.generate(wanted(60), Sampling())]
    again = [c.text for c in engine.generate(wanted(10), Sampling(temperature=1.0))]
    engine.close()
    assert sorted(found) == sorted(r.key.problem for r in wanted(60))
    assert len(again) == 10
    assert set(asked.values()) <= {1, 2}
    assert engine.stats.tokens == 70
    assert engine.identity == {"id": "echo"}


def test_completions_are_handed_over_together_while_the_engine_has_enough_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wmtp.kit.workers.GATHER_S", 60.0)
    stream = EngineStream(Echo(Counter()), {})
    stream.give(wanted(20), Sampling())
    first = stream.take().completions
    assert len(first) >= 19, "all but the last, with which nothing is left to draw"
    while len(first) < 20:
        first += stream.take().completions
    stream.close()
    assert [c.text for c in first] == [r.key.problem for r in wanted(20)]


def test_what_a_lost_worker_held_is_asked_of_another() -> None:
    asked: Counter[str] = Counter()
    first = threading.Event()

    def mortal() -> Near:
        if first.is_set():
            return Near(Echo(asked), {})
        first.set()
        return Near(Echo(asked), {}, lives=12)

    engine = Spread([mortal, lambda: Near(Echo(asked), {})], window=4, patience_s=5)
    found = Counter(c.text for c in engine.generate(wanted(80), Sampling()))
    engine.close()
    assert found == Counter(r.key.problem for r in wanted(80))


def test_a_worker_that_comes_late_joins() -> None:
    asked: Counter[str] = Counter()
    late: list[Near] = []

    def comes_late() -> Near:
        time.sleep(0.2)
        late.append(Near(Echo(asked), {}))
        return late[0]

    engine = Spread([lambda: Near(Echo(asked), {}), comes_late], window=4, patience_s=5)
    assert len(list(engine.generate(wanted(400), Sampling()))) == 400
    engine.close()
    assert late[0]._engine.count > 0  # type: ignore[attr-defined]


def test_workers_that_are_always_lost_end_the_run_and_say_so() -> None:
    engine = Spread(
        [lambda: Near(Echo(Counter()), {}, lives=0)] * 2, window=4, patience_s=5, advice="Look at their logs."
    )
    with pytest.raises(GenerationError, match=r"lost 7 times without a completion.*killed.*Look at their logs"):
        list(engine.generate(wanted(10), Sampling()))
    engine.close()


def test_no_worker_ends_the_wait_and_says_so() -> None:
    def never() -> Near:
        raise WorkerLostError("no room for it")

    with pytest.raises(GenerationError, match="no room for it"):
        Spread([never], window=4, patience_s=0.1)


def test_workers_that_differ_are_no_engine() -> None:
    def made(version: str, delay: float) -> Any:
        def make() -> Near:
            time.sleep(delay)
            return Near(Echo(Counter()), {"torch": version})

        return make

    engine = Spread([made("2.13.0", 0), made("2.12.0", 0.1)], window=2, patience_s=5)
    with pytest.raises(WmtpError, match=r"differ in their versions: torch 2\.13\.0 here and 2\.12\.0 there"):
        list(engine.generate(wanted(500), Sampling()))
    engine.close()


def test_an_engines_own_error_ends_the_run() -> None:
    engine = Spread([lambda: Near(Echo(Counter(), fails="p7"), {})] * 2, window=4, patience_s=5)
    with pytest.raises(GenerationError, match="the engine's own fault"):
        list(engine.generate(wanted(20), Sampling()))
    engine.close()
