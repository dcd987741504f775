"""The hook implementations: small records. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Any

import attrs

import wmtp
from wmtp_sample_plugin.problems import PROBLEMS


# --8<-- [start:settings]
@attrs.frozen(kw_only=True)
class ToySettings:
    polite: bool = False  # eval.evaluators.toy-v1.polite in a recipe


# --8<-- [end:settings]


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [wmtp.DatasetSpec(name="toy", summary="three problems that come with the plugin", load=lambda _: PROBLEMS)]


# --8<-- [start:evaluator]
def evaluate(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    from wmtp_sample_plugin.benchmark import Toy

    return Toy().evaluate(task)


@wmtp.hookimpl
def wmtp_evaluators() -> list[wmtp.EvaluatorSpec]:
    spec = wmtp.EvaluatorSpec(
        id="toy-v1", summary="a toy", metrics=("toy_pass@{k}",), dataset="toy", settings=ToySettings, evaluate=evaluate
    )
    return [spec]


# --8<-- [end:evaluator]
# --8<-- [start:more]
@attrs.frozen(kw_only=True)
class Greeting:
    name: str = "world"  # greeting: {name: …} in a recipe


@wmtp.hookimpl
def wmtp_sections() -> list[wmtp.SectionSpec]:
    return [wmtp.SectionSpec(name="greeting", summary="whom `wmtp hello` greets", settings=Greeting)]


@wmtp.hookimpl
def wmtp_commands() -> list[wmtp.CommandSpec]:
    return [wmtp.CommandSpec(name="hello", summary="Greet whom RECIPE says.", target="wmtp_sample_plugin.extras:hello")]


@attrs.frozen(kw_only=True)
class CountSettings:
    path: str  # tracking: {count: {path: …}} in config.yaml


def create(settings: CountSettings, run: Any) -> wmtp.Listener:
    from wmtp_sample_plugin.extras import Count

    return Count(settings.path)


@wmtp.hookimpl
def wmtp_trackers() -> list[wmtp.TrackerSpec]:
    return [wmtp.TrackerSpec(name="count", summary="events by type", settings=CountSettings, create=create)]


# --8<-- [end:more]
