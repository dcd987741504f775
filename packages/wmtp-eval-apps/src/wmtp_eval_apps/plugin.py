"""The hook implementations of wmtp-eval-apps: the data set ``apps`` and the evaluator ``apps-v1``."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import validators

import wmtp
from wmtp import kit


@attrs.frozen(kw_only=True)
class AppsSettings(kit.ChatSettings, kit.PartialCredit):
    """How APPS is asked (`wmtp.kit.ChatSettings`) and judged.

    Attributes:
        split: train or test, 5,000 problems each.
        time_limit: CPU seconds for one input of a program that reads; for a function, for each of at most ten of its calls.
        skip_untested: Leave out problems without tests, and say how many; they are refused otherwise.
    """

    split: Literal["train", "test"] = "test"
    time_limit: float = attrs.field(default=4.0, validator=validators.gt(0))
    skip_untested: bool = False


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="apps",
            summary="10,000 problems of coding sites with their tests (codeparrot/apps, MIT)",
            load=kit.late("wmtp_eval_apps.rows:read"),
            hub_id="codeparrot/apps",
            hub_patterns=("t*.jsonl",),
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id="apps-v1",
            summary="APPS, functions that are called and programs that read",
            metrics=("apps_pass@{k}", "apps_tests_passed"),
            on_request=("apps_tests_passed",),
            descriptions={"apps_tests_passed": kit.TESTS_PASSED},
            dataset="apps",
            settings=AppsSettings,
            evaluate=kit.late_benchmark("wmtp_eval_apps.benchmark:Apps"),
        )
    ]
