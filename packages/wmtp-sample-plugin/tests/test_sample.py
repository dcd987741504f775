"""The sample plugin's own test, as the tutorial has it."""

from __future__ import annotations

import wmtp_sample_plugin.plugin
from wmtp.testing import EvaluatorContract, FakeEngine, engine_plugin


class TestToy(EvaluatorContract):
    plugin = wmtp_sample_plugin.plugin
    evaluator = "toy-v1"


def test_politeness_reaches_the_prompt(wmtp_run) -> None:
    engine = FakeEngine(lambda request: "def triple(n): return 3 * n")
    section = {"metrics": ["toy_pass@1"], "evaluators": {"toy-v1": {"polite": True}}}
    recipe = {"model": {"base_id": "fake:"}, "eval": section}
    results = wmtp_run(recipe, wmtp_sample_plugin.plugin, engine_plugin(engine))
    assert all(request.prompt.startswith("Please. ") for request in engine.requests)
    assert results.metrics["toy_pass@1"].value == 1 / 3
