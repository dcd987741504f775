"""The hook implementations of wmtp-eval-evalplus: two data sets and their evaluators."""

from __future__ import annotations

import attrs

import wmtp
from wmtp import kit

# data set: the benchmark that it extends, the name of its class and of its files, what it is
BENCHMARKS = {
    "humaneval_plus": ("humaneval", "HumanEvalPlus", "HumanEval with 80 times its tests"),
    "mbpp_plus": ("mbpp", "MbppPlus", "378 problems of MBPP with 35 times their tests"),
}
PASS = "chance that at least one of k samples is right on"


@attrs.frozen(kw_only=True)
class EvalPlusSettings(kit.ChatSettings, kit.ReferenceLimits):
    """How HumanEval+ and MBPP+ are asked (`wmtp.kit.ChatSettings`) and judged (`wmtp.kit.ReferenceLimits`)."""


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name=name,
            summary=f"{summary} (EvalPlus, Apache-2.0)",
            load=kit.late("wmtp_eval_evalplus.rows:read"),
            hub_id=f"evalplus/{name.replace('_', '')}",
            hub_patterns=("data/test*.parquet",),
        )
        for name, (_, _, summary) in BENCHMARKS.items()
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id=f"{base}-plus-v1",
            summary=f"{dataset}, judged on EvalPlus' inputs against its reference",
            metrics=(f"{dataset}_pass@{{k}}", f"{base}_base_pass@{{k}}"),
            descriptions={
                f"{dataset}_pass@{{k}}": f"{PASS} the base and the plus inputs, estimated without bias",
                f"{base}_base_pass@{{k}}": f"{PASS} the base inputs alone, which are the original benchmark's",
            },
            dataset=dataset,
            settings=EvalPlusSettings,
            evaluate=kit.late_benchmark(f"wmtp_eval_evalplus.benchmark:{name}"),
        )
        for dataset, (base, name, _) in BENCHMARKS.items()
    ]
