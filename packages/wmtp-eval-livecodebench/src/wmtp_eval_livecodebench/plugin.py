"""The hook implementations of wmtp-eval-livecodebench: its data set and its evaluator."""

from __future__ import annotations

import attrs
from attrs import validators

import wmtp
from wmtp import kit


@attrs.frozen(kw_only=True)
class LiveCodeBenchSettings(kit.ChatSettings, kit.DateWindow, kit.PartialCredit):
    """How LiveCodeBench is asked (`wmtp.kit.ChatSettings`), and of which time (`wmtp.kit.DateWindow`).

    Attributes:
        time_limit: CPU seconds for one input of a program that reads; for a function, for each of at most ten of its calls.
    """

    time_limit: float = attrs.field(default=6.0, validator=validators.gt(0))


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="livecodebench",
            summary="dated competition problems of LeetCode, AtCoder and Codeforces (livecodebench/code_generation_lite)",
            load=kit.late("wmtp_eval_livecodebench.rows:read"),
            hub_id="livecodebench/code_generation_lite",
            hub_patterns=("test*.jsonl",),
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id="livecodebench-v1",
            summary="LiveCodeBench's code generation, within a window of time",
            metrics=("livecodebench_pass@{k}", "livecodebench_tests_passed"),
            on_request=("livecodebench_tests_passed",),
            descriptions={"livecodebench_tests_passed": kit.TESTS_PASSED},
            dataset="livecodebench",
            settings=LiveCodeBenchSettings,
            evaluate=kit.late_benchmark("wmtp_eval_livecodebench.benchmark:LiveCodeBench"),
        )
    ]
