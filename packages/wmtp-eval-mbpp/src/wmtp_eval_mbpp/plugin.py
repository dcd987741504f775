"""The hook implementations of wmtp-eval-mbpp: the data set ``mbpp`` and the evaluators ``mbpp-v1`` and ``mbpp-heads-v1``."""

from __future__ import annotations

import wmtp
from wmtp import kit
from wmtp_eval_mbpp.settings import MbppSettings

JUDGED = {
    "mbpp_exact": "share of problems whose first sample is the reference solution, compared as syntax trees, docstrings and "
    "comments aside",
    "mbpp_pass@{k}": "chance that at least one of k samples passes all of its problem's asserts, estimated without bias",
    "mbpp_tests_passed": kit.TESTS_PASSED,
}
OF_HEADS = kit.head_metrics("mbpp", 8)


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="mbpp",
            summary="974 basic Python problems with three asserts each (google-research, CC BY 4.0)",
            load=kit.late("wmtp_eval_mbpp.rows:read"),
            hub_id="google-research-datasets/mbpp",
            hub_patterns=("full/*.parquet",),
            examples=kit.late("wmtp_eval_mbpp.benchmark:examples"),
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id="mbpp-v1",
            summary="MBPP, judged on all of its asserts",
            metrics=tuple(JUDGED),
            on_request=("mbpp_tests_passed",),
            dataset="mbpp",
            settings=MbppSettings,
            descriptions=JUDGED,
            evaluate=kit.late_benchmark("wmtp_eval_mbpp.benchmark:Mbpp"),
        ),
        wmtp.EvaluatorSpec(
            id="mbpp-heads-v1",
            summary="how each head predicts MBPP's reference solutions: cross-entropy, and the share of first choices that are "
            "right",
            metrics=tuple(OF_HEADS),
            dataset="mbpp",
            settings=MbppSettings,
            samples=False,
            descriptions=OF_HEADS,
            evaluate=kit.late("wmtp_eval_mbpp.benchmark:evaluate_heads"),
        ),
    ]
