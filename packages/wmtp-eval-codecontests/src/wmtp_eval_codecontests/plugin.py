"""The hook implementations of wmtp-eval-codecontests: the data set ``contest`` and the evaluator ``codecontests-v1``."""

from __future__ import annotations

import wmtp
from wmtp import kit
from wmtp_eval_codecontests.settings import CodeContestsSettings


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="contest",
            summary="competition problems with their tests (deepmind/code_contests, CC BY 4.0)",
            load=kit.late("wmtp_eval_codecontests.rows:read"),
            hub_id="deepmind/code_contests",
            hub_patterns=("data/*.parquet",),
            examples=kit.late("wmtp_eval_codecontests.benchmark:examples_of"),
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id="codecontests-v1",
            summary="CodeContests, judged on standard input and output",
            metrics=("contest_pass@{k}", "contest_tests_passed"),
            on_request=("contest_tests_passed",),
            descriptions={"contest_tests_passed": kit.TESTS_PASSED},
            dataset="contest",
            settings=CodeContestsSettings,
            evaluate=kit.late_benchmark("wmtp_eval_codecontests.benchmark:CodeContests"),
        )
    ]
