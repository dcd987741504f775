"""The sample plugin's own test, as the tutorial has it."""

from __future__ import annotations

from typing import ClassVar

import wmtp_sample_plugin.plugin
from wmtp.testing import (
    CommandContract,
    DatasetContract,
    EvaluatorContract,
    FakeEngine,
    SectionContract,
    TrackerContract,
    engine_plugin,
)


class TestToy(EvaluatorContract):
    plugin = wmtp_sample_plugin.plugin
    evaluator = "toy-v1"


class TestProblems(DatasetContract):
    plugin = wmtp_sample_plugin.plugin
    dataset = "toy"
    fields = ("id", "ask", "code", "tests")


class TestHello(CommandContract):
    plugin = wmtp_sample_plugin.plugin
    command = "hello"


class TestGreeting(SectionContract):
    plugin = wmtp_sample_plugin.plugin
    section = "greeting"
    valid: ClassVar = {"name": "you"}
    invalid: ClassVar = {"name": 3}


class TestCount(TrackerContract):
    plugin = wmtp_sample_plugin.plugin
    tracker = "count"

    def settings(self, folder):
        return {"path": str(folder / "counts.json")}


def test_politeness_reaches_the_prompt(wmtp_run) -> None:
    engine = FakeEngine(lambda request: "def triple(n): return 3 * n")
    section = {"metrics": ["toy_pass@1"], "evaluators": {"toy-v1": {"polite": True}}}
    recipe = {"model": {"base_id": "fake:"}, "eval": section}
    results = wmtp_run(recipe, wmtp_sample_plugin.plugin, engine_plugin(engine))
    assert all(request.prompt.startswith("Please. ") for request in engine.requests)
    assert results.metrics["toy_pass@1"].value == 1 / 3
