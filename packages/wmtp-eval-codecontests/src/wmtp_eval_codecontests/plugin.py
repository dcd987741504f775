"""The hook implementations of wmtp-eval-codecontests: the data set ``contest`` and the evaluator ``codecontests-v1``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_codecontests.settings import CodeContestsSettings

EVALUATOR = "codecontests-v1"


def load(request: wmtp.DatasetRequest) -> Iterable[Mapping[str, Any]]:
    from wmtp_eval_codecontests.rows import read

    return read(request)


def examples(row: Mapping[str, Any]) -> Iterable[wmtp.Example]:
    from wmtp_eval_codecontests.benchmark import examples_of

    return examples_of(row)


def evaluate(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    from wmtp_eval_codecontests.benchmark import CodeContests

    return CodeContests().evaluate(task)


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="contest",
            summary="competition problems with their tests (deepmind/code_contests, CC BY 4.0)",
            load=load,
            hub_id="deepmind/code_contests",
            hub_patterns=("data/*.parquet",),
            examples=examples,
        )
    ]


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id=EVALUATOR,
            summary="CodeContests, judged on standard input and output",
            metrics=("contest_pass@{k}", "contest_tests_passed"),
            on_request=("contest_tests_passed",),
            descriptions={"contest_tests_passed": kit.TESTS_PASSED},
            dataset="contest",
            settings=CodeContestsSettings,
            evaluate=evaluate,
        )
    ]
