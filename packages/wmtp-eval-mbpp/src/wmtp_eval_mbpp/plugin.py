"""The hook implementations of wmtp-eval-mbpp: the data set ``mbpp`` and the evaluator ``mbpp-v1``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import wmtp
from wmtp_eval_mbpp.settings import MbppSettings

EVALUATOR = "mbpp-v1"


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
        )
    ]


@wmtp.hookimpl
def wmtp_evaluate(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult | None:
    if task.evaluator != EVALUATOR:
        return None
    from wmtp_eval_mbpp.benchmark import Mbpp

    return Mbpp().evaluate(task)
