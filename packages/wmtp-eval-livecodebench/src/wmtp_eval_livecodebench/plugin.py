"""The hook implementations of wmtp-eval-livecodebench: its data set and its evaluator."""

from __future__ import annotations

from datetime import date

import attrs
from attrs import validators

import wmtp
from wmtp import kit

EVALUATOR = "livecodebench-v1"


@attrs.frozen(kw_only=True)
class LiveCodeBenchSettings(kit.ChatSettings, kit.PartialCredit):
    """How LiveCodeBench is asked (`wmtp.kit.ChatSettings`), and of which time.

    Attributes:
        start_date: First day of the window, like ``"2024-08-01"``; ``""``: from the first problem on.
        end_date: Last day of the window, itself within; ``""``: up to the last problem.
        time_limit: CPU seconds for one input of a program that reads; for a function, for each of at most ten of its calls.
    """

    start_date: str = ""
    end_date: str = ""
    time_limit: float = attrs.field(default=6.0, validator=validators.gt(0))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for name in ("start_date", "end_date"):
            try:
                date.fromisoformat(getattr(self, name) or "2000-01-01")
            except ValueError:
                raise wmtp.ConfigError(f"{name}: expected a day like 2024-08-01, not {getattr(self, name)!r}") from None
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise wmtp.ConfigError(f"start_date {self.start_date} is behind end_date {self.end_date}")


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
            id=EVALUATOR,
            summary="LiveCodeBench's code generation, within a window of time",
            metrics=("livecodebench_pass@{k}", "livecodebench_tests_passed"),
            on_request=("livecodebench_tests_passed",),
            descriptions={"livecodebench_tests_passed": kit.TESTS_PASSED},
            dataset="livecodebench",
            settings=LiveCodeBenchSettings,
            evaluate=kit.late_benchmark("wmtp_eval_livecodebench.benchmark:LiveCodeBench"),
        )
    ]
