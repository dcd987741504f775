"""The hook implementations of wmtp-eval-evalplus: two data sets and their evaluators."""

from __future__ import annotations

import attrs
from attrs import validators

import wmtp
from wmtp import kit


@attrs.frozen(kw_only=True)
class EvalPlusSettings(kit.ChatSettings):
    """How HumanEval+ and MBPP+ are asked (`wmtp.kit.ChatSettings`) and judged.

    Attributes:
        time_limit: CPU seconds that a program has for all inputs of a problem together, at least.
        time_factor: Where the reference takes long itself, a program has so many times its CPU seconds.
    """

    time_limit: float = attrs.field(default=10.0, validator=validators.gt(0))
    time_factor: float = attrs.field(default=4.0, validator=validators.gt(0))


def _dataset(name: str, summary: str) -> wmtp.DatasetSpec:
    return wmtp.DatasetSpec(
        name=name,
        summary=f"{summary} (EvalPlus, Apache-2.0)",
        load=kit.late("wmtp_eval_evalplus.rows:read"),
        hub_id=f"evalplus/{name.replace('_', '')}",
        hub_patterns=("data/test*.parquet",),
    )


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        _dataset("humaneval_plus", "HumanEval with 80 times its tests"),
        _dataset("mbpp_plus", "378 problems of MBPP with 35 times their tests"),
    ]


def _spec(evaluator: str, dataset: str, short: str, benchmark: str) -> wmtp.EvaluatorSpec:
    plus, base = f"{dataset}_pass@{{k}}", f"{short}_base_pass@{{k}}"
    return wmtp.EvaluatorSpec(
        id=evaluator,
        summary=f"{dataset}, judged on EvalPlus' inputs against its reference",
        metrics=(plus, base),
        dataset=dataset,
        settings=EvalPlusSettings,
        evaluate=kit.late_benchmark(f"wmtp_eval_evalplus.benchmark:{benchmark}"),
        descriptions={
            plus: "chance that at least one of k samples is right on the base and the plus inputs, estimated without bias",
            base: "chance that at least one of k samples is right on the base inputs alone, which are the original benchmark's",
        },
    )


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        _spec("humaneval-plus-v1", "humaneval_plus", "humaneval", "HumanEvalPlus"),
        _spec("mbpp-plus-v1", "mbpp_plus", "mbpp", "MbppPlus"),
    ]
