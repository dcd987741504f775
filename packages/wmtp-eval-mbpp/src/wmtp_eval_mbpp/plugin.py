"""The hook implementations of wmtp-eval-mbpp: the data set ``mbpp`` and the evaluators ``mbpp-v1`` and ``mbpp-heads-v1``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_mbpp.settings import MbppSettings

EVALUATOR = "mbpp-v1"
HEADS = "mbpp-heads-v1"
MOST_HEADS = 8
JUDGED = {
    "mbpp_exact": "share of problems whose first sample is the reference solution, compared as syntax trees, docstrings and "
    "comments aside",
    "mbpp_pass@{k}": "chance that at least one of k samples passes all of its problem's asserts, estimated without bias",
    "mbpp_tests_passed": kit.TESTS_PASSED,
}
OF_HEADS = {
    f"mbpp_head{i}_{what}": meaning
    for what, meaning in (
        (
            "loss",
            "cross-entropy of this head over the reference solutions, in nats a token; head 1 predicts the next token",
        ),
        ("top1", "share of the reference solutions' tokens that are this head's first choice"),
    )
    for i in range(1, MOST_HEADS + 1)
}


def load(request: wmtp.DatasetRequest) -> Iterable[Mapping[str, Any]]:
    from wmtp_eval_mbpp.rows import read

    return read(request)


def examples(row: Mapping[str, Any]) -> Iterable[wmtp.Example]:
    from wmtp_eval_mbpp.benchmark import example

    return [example(row)]


def evaluate(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    from wmtp_eval_mbpp.benchmark import Mbpp

    return Mbpp().evaluate(task)


def evaluate_heads(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    from wmtp_eval_mbpp.benchmark import Mbpp

    return wmtp.HeadMetrics(Mbpp()).evaluate(task)


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="mbpp",
            summary="974 basic Python problems with three asserts each (google-research, CC BY 4.0)",
            load=load,
            hub_id="google-research-datasets/mbpp",
            hub_patterns=("full/*.parquet",),
            examples=examples,
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id=EVALUATOR,
            summary="MBPP, judged on all of its asserts",
            metrics=tuple(JUDGED),
            on_request=("mbpp_tests_passed",),
            dataset="mbpp",
            settings=MbppSettings,
            descriptions=JUDGED,
            evaluate=evaluate,
        ),
        wmtp.EvaluatorSpec(
            id=HEADS,
            summary="how each head predicts MBPP's reference solutions: cross-entropy, and the share of first choices that are "
            "right",
            metrics=tuple(OF_HEADS),
            dataset="mbpp",
            settings=MbppSettings,
            samples=False,
            descriptions=OF_HEADS,
            evaluate=evaluate_heads,
        ),
    ]
