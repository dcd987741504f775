"""The hook implementations of wmtp-eval-humaneval: the data set ``humaneval`` and the evaluator ``humaneval-v1``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

import wmtp
from wmtp.kit import ChatSettings

EVALUATOR = "humaneval-v1"


@attrs.frozen(kw_only=True)
class HumanEvalSettings(ChatSettings):
    """How HumanEval is asked, see `wmtp.kit.ChatSettings`."""


def load(request: wmtp.DatasetRequest) -> Iterable[Mapping[str, Any]]:
    from wmtp_eval_humaneval.rows import read

    return read(request)


def evaluate(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    from wmtp_eval_humaneval.benchmark import HumanEval

    return HumanEval().evaluate(task)


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="humaneval",
            summary="164 hand-written Python problems (OpenAI, MIT)",
            load=load,
            hub_id="openai/openai_humaneval",
            hub_patterns=("*/test*.parquet",),
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id=EVALUATOR,
            summary="HumanEval, judged by its check functions",
            metrics=("humaneval_pass@{k}",),
            dataset="humaneval",
            settings=HumanEvalSettings,
            evaluate=evaluate,
        )
    ]
