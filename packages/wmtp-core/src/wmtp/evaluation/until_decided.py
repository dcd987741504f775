"""Sampling until it stands which of two runs is better (``eval.against``, ``eval.decide``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import attrs

from wmtp.comparison.checks import differences, refuse
from wmtp.comparison.folders import read_folder, read_judged
from wmtp.comparison.records import RunData
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask
from wmtp.errors import ConfigError
from wmtp.statistics.sequential import after_rounds

log = logging.getLogger("wmtp")


def until_decided(
    task: EvaluationTask,
    evaluate: Callable[[EvaluationTask], EvaluationResult],
    *,
    folder: Path,
    against: Path,
    difference: float,
    first: int,
) -> EvaluationResult:
    """Evaluate with one sample a problem more each time, until a decision stands or the task's n is reached.

    How many samples there are decides no sample, so a run that was stopped goes on as any other, to the same decision.

    Args:
        task: The owner's task; its sampling's n is the most samples a problem.
        evaluate: What brings the task to its end.
        folder: The run's own folder. against: the folder of the finished run to beat.
        difference: The difference of pass@1 that is looked for.
        first: Samples a problem to begin with: the largest k that a metric needs.

    Raises:
        ConfigError: The run to beat is not finished, has no outcomes of this evaluator, or measured something else.
    """
    baseline = read_folder(against)
    if task.evaluator not in baseline.judged:
        raise ConfigError(f"eval.against: {against} has no judged samples of {task.evaluator}")
    theirs = baseline.judged[task.evaluator]
    assert task.sampling.n != "auto"  # settled before a task is made
    most = min(task.sampling.n, max(len(of) for of in theirs.passed.values()))
    for n in range(min(first, most), most + 1):
        result = evaluate(attrs.evolve(task, sampling=attrs.evolve(task.sampling, n=n)))
        ours = read_judged(folder, task.evaluator)
        own = RunData(name=folder.name, path=folder, judged={task.evaluator: ours})
        refuse([d for d in differences([baseline, own], [task.evaluator]) if not d["key"].startswith("extraction")], ())
        passed = {problem: {i: ok for i, ok in of.items() if i < n} for problem, of in ours.passed.items()}
        bet = after_rounds(theirs.passed, passed, difference=difference)
        if bet.decision or n == most:
            said = f"{bet.decision} than {against.name}" if bet.decision else f"undecided against {against.name}"
            note = (
                f"{said} after {n} sample{'s' if n > 1 else ''} a problem: {bet.won} pairs won, {bet.lost} lost "
                f"of {bet.pairs}, e-value {bet.e_value:.3g} (20 decides)"
            )
            log.info("%s: %s", task.evaluator, note)
            return attrs.evolve(result, notes=(note, *result.notes))
    raise AssertionError("the last round returns")
