"""`HeadMetrics`: how well each head of a model predicts a benchmark's reference solutions."""

from __future__ import annotations

import re

from wmtp.contracts.engines import HeadScores
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, MetricValue
from wmtp.errors import ConfigError, GenerationError
from wmtp.evaluation.benchmark import CodeBenchmark
from wmtp.evaluation.metrics import summarise

_NAME = re.compile(r".*head(?P<head>[1-9]\d*)_(?P<what>loss|top1)")


class HeadMetrics:
    """Answers for metrics named ``…head{i}_loss`` (nats a token) and ``…head{i}_top1``; head 1 predicts the next token.

    Problems, prompts and references are the benchmark's. The solution is fed, not generated: head i sees everything up to i
    tokens before the one it predicts. A problem's value is the mean over its tokens; the metric's, over problems. It costs
    one forward a problem, so nothing is stored, and a run that is started again computes it again.
    """

    def __init__(self, benchmark: CodeBenchmark) -> None:
        self._benchmark = benchmark

    def evaluate(self, task: EvaluationTask) -> EvaluationResult:
        """Raises ConfigError where a metric asks for a head that the model lacks."""
        values: dict[str, dict[str, float]] = {name: {} for name in task.metrics}
        notes, count = [], 0
        problems = self._benchmark.begin(task)
        for problem in problems.values():
            reference = self._benchmark.reference(problem)
            if reference is None:
                notes.append(f"problem {problem.id} has no reference solution")
                continue
            try:
                scores = task.head_scores(self._benchmark.prompt(problem), reference)
                found = {name: _value(name, scores) for name in values}
            except GenerationError as error:
                notes.append(f"problem {problem.id}: {error}")
                continue
            count += 1
            for name, value in found.items():
                values[name][problem.id] = value
        metrics: dict[str, MetricValue] = {
            name: summarise(list(found.values()) if count == len(problems) else None, len(problems), count, _unit(name))
            for name, found in values.items()
        }
        return EvaluationResult(evaluator=task.evaluator, metrics=metrics, notes=tuple(notes[:20]), values=values)


def _value(name: str, scores: HeadScores) -> float:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(f"{name!r} names no head; a metric of heads ends in head1_loss or head1_top1, say")
    head = int(match["head"]) - 1
    if head >= len(scores.loss):
        raise ConfigError(
            f"{name} asks for head {head + 1}; the model has {len(scores.loss)}, those that model.mtp.n_heads leaves out aside"
        )
    if not scores.scored[head]:
        raise GenerationError(f"its solution is too short for head {head + 1} to predict any of it")
    total = scores.loss[head] if match["what"] == "loss" else scores.right[head]
    return total / scores.scored[head]


def _unit(name: str) -> str:
    return "nats" if name.endswith("_loss") else ""
