"""The hook implementations: a data set and an evaluator. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

import wmtp


# --8<-- [start:settings]
@attrs.frozen(kw_only=True)
class ToySettings:
    polite: bool = False  # eval.evaluators.toy-v1.polite in a recipe


# --8<-- [end:settings]


# --8<-- [start:dataset]
def load(request: wmtp.DatasetRequest) -> Iterable[Mapping[str, Any]]:
    from wmtp_sample_plugin.problems import PROBLEMS

    return PROBLEMS


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [wmtp.DatasetSpec(name="toy", summary="three problems that come with the plugin", load=load)]


# --8<-- [end:dataset]


# --8<-- [start:evaluator]
def evaluate(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    from wmtp_sample_plugin.benchmark import Toy

    return Toy().evaluate(task)


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    return [
        wmtp.EvaluatorSpec(
            id="toy-v1",
            summary="a toy benchmark",
            metrics=("toy_pass@{k}",),
            evaluate=evaluate,
            dataset="toy",
            settings=ToySettings,
        )
    ]


# --8<-- [end:evaluator]
