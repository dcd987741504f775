"""The hook implementations of wmtp-eval-humaneval: the data set ``humaneval`` and the evaluator ``humaneval-v1``."""

from __future__ import annotations

import attrs

import wmtp
from wmtp import kit


@attrs.frozen(kw_only=True)
class HumanEvalSettings(kit.ChatSettings):
    """How HumanEval is asked, see `wmtp.kit.ChatSettings`."""


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="humaneval",
            summary="164 hand-written Python problems (OpenAI, MIT)",
            load=kit.late("wmtp_eval_humaneval.rows:read"),
            hub_id="openai/openai_humaneval",
            hub_patterns=("*/test*.parquet",),
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id="humaneval-v1",
            summary="HumanEval, judged by its check functions",
            metrics=("humaneval_pass@{k}",),
            dataset="humaneval",
            settings=HumanEvalSettings,
            evaluate=kit.late_benchmark("wmtp_eval_humaneval.benchmark:HumanEval"),
        )
    ]
