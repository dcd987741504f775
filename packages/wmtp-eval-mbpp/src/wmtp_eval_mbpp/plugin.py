"""The hook implementations of wmtp-eval-mbpp: the data set ``mbpp`` and the evaluators ``mbpp-v1`` and ``mbpp-heads-v1``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import wmtp
from wmtp_eval_mbpp.settings import MbppSettings

EVALUATOR = "mbpp-v1"
HEADS = "mbpp-heads-v1"
MOST_HEADS = 8


def load(request: wmtp.DatasetRequest) -> Iterable[Mapping[str, Any]]:
    from wmtp_eval_mbpp.rows import read

    return read(request)


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            "mbpp",
            "974 basic Python problems with three asserts each (google-research, CC BY 4.0)",
            load,
            hub_id="google-research-datasets/mbpp",
            hub_patterns=("full/*.parquet",),
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            EVALUATOR,
            "MBPP, judged on all of its asserts",
            ("mbpp_exact", "mbpp_pass@{k}"),
            dataset="mbpp",
            settings=MbppSettings,
        ),
        wmtp.EvaluatorSpec(
            HEADS,
            "how each head predicts MBPP's reference solutions: cross-entropy, and the share of first choices that are right",
            tuple(f"mbpp_head{i}_{what}" for what in ("loss", "top1") for i in range(1, MOST_HEADS + 1)),
            dataset="mbpp",
            settings=MbppSettings,
            samples=False,
        ),
    ]


@wmtp.hookimpl
def wmtp_evaluate(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult | None:
    if task.evaluator not in (EVALUATOR, HEADS):
        return None
    from wmtp_eval_mbpp.benchmark import Mbpp

    return Mbpp().evaluate(task) if task.evaluator == EVALUATOR else wmtp.HeadMetrics(Mbpp()).evaluate(task)
