"""The hook implementations of wmtp-eval-evalplus: two data sets and their evaluators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from attrs import validators

import wmtp
from wmtp.kit import ChatSettings

HUMANEVAL, MBPP = "humaneval-plus-v1", "mbpp-plus-v1"


@attrs.frozen(kw_only=True)
class EvalPlusSettings(ChatSettings):
    """How HumanEval+ and MBPP+ are asked (`wmtp.kit.ChatSettings`) and judged.

    Attributes:
        time_limit: CPU seconds that a program has for all inputs of a problem together, at least.
        time_factor: Where the reference takes long itself, a program has so many times its CPU seconds.
    """

    time_limit: float = attrs.field(default=10.0, validator=validators.gt(0))
    time_factor: float = attrs.field(default=4.0, validator=validators.gt(0))


def load(request: wmtp.DatasetRequest) -> Iterable[Mapping[str, Any]]:
    from wmtp_eval_evalplus.rows import read

    return read(request)


def evaluate(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    from wmtp_eval_evalplus.benchmark import HumanEvalPlus, MbppPlus

    return (HumanEvalPlus() if task.evaluator == HUMANEVAL else MbppPlus()).evaluate(task)


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="humaneval_plus",
            summary="HumanEval with 80 times its tests (EvalPlus, Apache-2.0)",
            load=load,
            hub_id="evalplus/humanevalplus",
            hub_patterns=("data/test*.parquet",),
        ),
        wmtp.DatasetSpec(
            name="mbpp_plus",
            summary="378 problems of MBPP with 35 times their tests (EvalPlus, Apache-2.0)",
            load=load,
            hub_id="evalplus/mbppplus",
            hub_patterns=("data/test*.parquet",),
        ),
    ]


def _spec(evaluator: str, dataset: str, short: str) -> wmtp.EvaluatorSpec:
    plus, base = f"{dataset}_pass@{{k}}", f"{short}_base_pass@{{k}}"
    return wmtp.EvaluatorSpec(
        id=evaluator,
        summary=f"{dataset}, judged on EvalPlus' inputs against its reference",
        metrics=(plus, base),
        dataset=dataset,
        settings=EvalPlusSettings,
        evaluate=evaluate,
        descriptions={
            plus: "chance that at least one of k samples is right on the base and the plus inputs, estimated without bias",
            base: "chance that at least one of k samples is right on the base inputs alone, which are the original benchmark's",
        },
    )


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [_spec(HUMANEVAL, "humaneval_plus", "humaneval"), _spec(MBPP, "mbpp_plus", "mbpp")]
