"""Scores that benchmarks share: unbiased pass@k, partial credit, and a score without the problems that are known to be bad."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import attrs

from wmtp.contracts.evaluation import EvaluationResult, Verdict
from wmtp.errors import ConfigError

TESTS_PASSED = "mean share of a problem's tests that a sample passes, with the evaluator's all_tests: true"


@attrs.frozen(kw_only=True, slots=False)  # stands beside another base
class PartialCredit:
    """The setting of a benchmark that can tell how many of its tests a program passes; its settings derive from it.

    Attributes:
        all_tests: Tests behind one that fails are run as well. Verdicts are the same. What several tests use belongs into the
            setup: the test that ended the program is left out, and sets no names.
    """

    all_tests: bool = False


def share_of_tests(verdicts: Sequence[Verdict]) -> float:
    """How much of a problem's tests its samples pass: the mean over them of the share. An answer without code passes none.

    Args:
        verdicts: Of all samples of a problem, judged with ``all_tests``.

    Raises:
        ConfigError: a failed program's tests were not all run: the judge knows no ``all_tests``.
    """
    outcomes = [verdict.outcome for verdict in verdicts]
    for verdict in verdicts:
        # One that passed all of them may have failed yet: by the CPU of processes that it left running.
        if not verdict.outcome.failed_tests and verdict.outcome.tests_passed < verdict.outcome.tests:
            raise ConfigError(
                f"problem {verdict.key.problem}, sample {verdict.key.index}: not all of its tests were run, so no share of "
                "them can be told; the judge of judging.where does not run tests behind one that fails"
            )
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


def passed_first(verdict: Verdict) -> bool:
    """Whether a program passed the first of its tests: one that failed later had."""
    outcome = verdict.outcome
    return outcome.passed or (outcome.tests_passed > 0 and 1 not in outcome.failed_tests)


def head_metrics(prefix: str, most: int) -> dict[str, str]:
    """Names of `wmtp.HeadMetrics` with what they measure, for a benchmark's record.

    Args:
        prefix: What the names begin with: the benchmark's.
        most: Heads that a model may have.
    """
    measured = {
        "loss": "cross-entropy of this head over the reference solutions, in nats a token; head 1 predicts the next token",
        "top1": "share of the reference solutions' tokens that are this head's first choice",
    }
    return {f"{prefix}_head{i}_{what}": text for what, text in measured.items() for i in range(1, most + 1)}


def table_by_group(values: Mapping[str, Mapping[str, float]], group_of: Mapping[str, str], kind: str) -> Iterator[str]:
    """Scores by a group of problems, as lines of Markdown; none where no problem has all scores.

    Args:
        values: Metric → problem → value, as `EvaluationResult.values` has them.
        group_of: Problem → its group.
        kind: What the groups are: ``"month"``.
    """
    metrics = [metric for metric, found in values.items() if found]
    groups: dict[str, list[str]] = defaultdict(list)
    for problem, group in group_of.items():
        if metrics and all(problem in values[metric] for metric in metrics):
            groups[group].append(problem)
    if groups:
        yield f"| {kind} | problems | " + " | ".join(f"`{metric}`" for metric in metrics) + " |"
        yield "|---|---:|" + "---:|" * len(metrics)
    for group, problems in sorted(groups.items()):
        scores = (f"{100 * fmean(values[metric][p] for p in problems):.1f} %" for metric in metrics)
        yield f"| {group} | {len(problems)} | " + " | ".join(scores) + " |"


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
