"""`eval.against`: sampling stops once it stands which run is better."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import wmtp
from wmtp.evaluation.until_decided import until_decided


@attrs.frozen(kw_only=True)
class Task:
    evaluator: str = "toy-v1"
    sampling: wmtp.Sampling = attrs.field(factory=lambda: wmtp.Sampling(n=8))


def outcomes(rate: float, seed: int) -> dict[str, list[bool]]:
    dice = random.Random(seed)
    return {f"t/{i}": [dice.random() < rate for _ in range(8)] for i in range(100)}


@pytest.mark.parametrize(("rate", "words", "most"), [(0.7, "better than base", 3), (0.1, "worse than base", 3)])
def test_sampling_stops_once_the_answer_stands(
    make_run: Callable[..., Path], rate: float, words: str, most: int
) -> None:
    base, own = make_run("base", outcomes(0.4, 1)), make_run("own", outcomes(rate, 2))
    asked: list[int] = []

    def evaluate(task: Any) -> wmtp.EvaluationResult:
        asked.append(task.sampling.n)
        return wmtp.EvaluationResult(evaluator="toy-v1", metrics={})

    found = until_decided(Task(), evaluate, folder=own, against=base, difference=0.1, first=1)  # type: ignore[arg-type]
    assert words in found.notes[0]
    assert asked == list(range(1, len(asked) + 1))
    assert len(asked) <= most


def test_another_benchmark_or_judge_is_refused(make_run: Callable[..., Path]) -> None:
    base, own = make_run("base", outcomes(0.4, 1)), make_run("own", outcomes(0.4, 2), judge={"time limit": 1})
    result = wmtp.EvaluationResult(evaluator="toy-v1", metrics={})
    with pytest.raises(wmtp.ConfigError, match="time limit"):
        until_decided(Task(), lambda t: result, folder=own, against=base, difference=0.1, first=1)  # type: ignore[arg-type]
    with pytest.raises(wmtp.ConfigError, match="no judged samples of far-v1"):
        until_decided(Task(evaluator="far-v1"), lambda t: result, folder=own, against=base, difference=0.1, first=1)  # type: ignore[arg-type]
