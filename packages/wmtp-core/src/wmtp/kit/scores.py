"""Scores that benchmarks share: unbiased pass@k, partial credit, and a score without the problems that are known to be bad."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import attrs

from wmtp.contracts.evaluation import EvaluationResult, Verdict

TESTS_PASSED = "mean share of a problem's tests that a sample passes, with the evaluator's all_tests: true"


@attrs.frozen(kw_only=True, slots=False)  # stands beside another base
class PartialCredit:
    """The setting of a benchmark that can tell how many of its tests a program passes; its settings derive from it.

    Attributes:
        all_tests: Tests behind one that fails are run as well. Verdicts are the same.
    """

    all_tests: bool = False


def share_of_tests(verdicts: Sequence[Verdict]) -> float:
    """How much of a problem's tests its samples pass: the mean over them of the share. An answer without code passes none.

    Args:
        verdicts: Of all samples of a problem, judged with ``all_tests``.
    """
    outcomes = [verdict.outcome for verdict in verdicts]
    return fmean(o.tests_passed / o.tests if o.tests else 0.0 for o in outcomes)


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimator 1 − C(n−c, k) / C(n, k) of Chen et al. (arXiv 2107.03374).

    Args:
        n: Samples of a problem.
        c: How many of them are right.
        k: How many one may try.

    Raises:
        ValueError: n < k. No estimate exists, and none is guessed.
    """
    if not 0 <= c <= n:
        raise ValueError(f"c must be between 0 and n: n={n}, c={c}")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples a problem, and k of at least 1; there are {n}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def without_known_bad(result: EvaluationResult, known: Mapping[str, str]) -> EvaluationResult:
    """Put the score without known-bad problems beside the score, in the result's report. The metrics themselves stay.

    Args:
        result: What an evaluator found, with its `values`.
        known: Problem → why it is bad, of the whole benchmark.
    """
    rows = []
    named: set[str] = set()
    for metric, values in result.values.items():
        good = [value for problem, value in values.items() if problem not in known]
        if result.metrics[metric].value is None or len(good) == len(values):
            continue
        named |= known.keys() & values.keys()
        left = f"{100 * fmean(good):.1f} % of {len(good)}" if good else "—"
        rows.append(f"| `{metric}` | {100 * fmean(values.values()):.1f} % of {len(values)} | {left} |")
    if not rows:
        return result
    table = ["| metric | all problems | without those known to be bad |", "|---|---:|---:|", *rows]
    reasons = [f"- {problem}: {reason}" for problem, reason in known.items() if problem in named]
    return attrs.evolve(result, report=(*result.report, "", *table, "", "Known to be bad:", "", *reasons))
