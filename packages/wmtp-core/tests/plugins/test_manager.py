"""Registries, conflicts, metric lookup, and the two ways of calling plugins."""

from __future__ import annotations

import functools
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wmtp
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, MetricValue
from wmtp.plugins import create_plugin_manager
from wmtp.plugins.known import KNOWN, known_provider

EVALUATOR = """
    import wmtp

    @wmtp.hookimpl
    def wmtp_evaluators():
        return [wmtp.EvaluatorSpec(id="{id}", summary="one", metrics=("shared_exact", "shared_pass@{{k}}", "{own}"))]

    @wmtp.hookimpl
    def wmtp_evaluate(task):
        return answer(task)
"""
REGISTRARS = """
    import wmtp

    @wmtp.hookimpl
    def wmtp_storages():
        return [wmtp.StorageSpec(mode="shelf", summary="a shelf", schemes=("shelf",), open=print)]

    @wmtp.hookimpl
    def wmtp_loaders():
        return [wmtp.LoaderSpec(name="echo", summary="echoes", matches=bool, load=print)]

    @wmtp.hookimpl
    def wmtp_datasets():
        return [wmtp.DatasetSpec(name="puzzles", summary="puzzles", load=print)]

    @wmtp.hookimpl
    def wmtp_scorers():
        return [wmtp.ScorerSpec(name="given", summary="given", create=print)]
"""


@pytest.fixture
def two(plugin_module):
    """Two plugins whose evaluators claim the same metrics, and each one of its own."""
    return [
        plugin_module("wmtp-eval-a", EVALUATOR.format(id="a-v1", own="a_only")),
        plugin_module("wmtp-eval-b", EVALUATOR.format(id="b-v1", own="b_only")),
    ]


def manager(*plugins):
    return create_plugin_manager(plugins=plugins, entry_points=False)


def task(evaluator, *metrics):
    return EvaluationTask(
        evaluator=evaluator, metrics=metrics, settings=None, sampling=wmtp.Sampling(), limit=None, rows=None, store=None,
        generate=None, judge=None,
    )  # fmt: skip


def result(evaluator, *metrics):
    return EvaluationResult(
        evaluator=evaluator,
        metrics={m: MetricValue(value=1.0, low=1.0, high=1.0, problems=1, samples=1) for m in metrics},
    )


def test_a_claimed_name_is_never_shadowed(plugin_module, caplog, monkeypatch):
    first, second = plugin_module("wmtp-first", REGISTRARS), plugin_module("wmtp-second", REGISTRARS)
    with caplog.at_level(logging.WARNING, "wmtp"):
        plugins = manager(first, second)
    for registry, name in [
        (plugins.storages, "shelf"), (plugins.schemes, "shelf"), (plugins.loaders, "echo"),
        (plugins.datasets, "puzzles"), (plugins.scorers, "given"),
    ]:  # fmt: skip
        with pytest.raises(wmtp.PluginError, match=r"claimed by wmtp-first 1\.0 and by wmtp-second 1\.0"):
            registry[name]
        with pytest.raises(wmtp.PluginError):
            _ = name in registry
        assert name not in list(registry)
    assert len(caplog.records) == len(plugins.conflicts()) == 5
    assert "local" in plugins.storages  # the others are unharmed
    monkeypatch.setenv("WMTP_STRICT_PLUGINS", "1")
    with pytest.raises(wmtp.PluginError, match="loader 'echo' is claimed by"):
        manager(first, second)


def test_two_evaluators_of_one_id(plugin_module):
    source = EVALUATOR.format(id="same-v1", own="x_only")
    plugins = manager(plugin_module("wmtp-eval-a", source), plugin_module("wmtp-eval-b", source))
    with pytest.raises(wmtp.PluginError, match="evaluator 'same-v1' is claimed by wmtp-eval-a"):
        plugins.metric("wx_only", {"wmtp-eval-b": "w"})


def test_conflicting_metrics_are_kept_apart_by_a_prefix(two):
    plugins = manager(*two)
    with pytest.raises(wmtp.ConfigError) as caught:
        plugins.metric("shared_pass@5")
    text = str(caught.value)
    assert "answered for by wmtp-eval-a 1.0 and by wmtp-eval-b 1.0" in text
    assert "eval.metric_prefix: {wmtp-eval-b: b_}" in text
    assert "b_shared_pass@5" in text
    prefixes = {"wmtp-eval-b": "b_"}  # the advice of the message, followed
    plain, prefixed = plugins.metric("shared_pass@5", prefixes), plugins.metric("b_shared_pass@5", prefixes)
    assert (plain.evaluator.spec.id, plain.base_name, plain.k) == ("a-v1", "shared_pass@5", 5)
    assert (prefixed.evaluator.spec.id, prefixed.base_name, prefixed.k) == ("b-v1", "shared_pass@5", 5)
    assert plugins.metric("b_b_only", prefixes).base_name == "b_only"
    with pytest.raises(wmtp.ConfigError, match="unknown metric 'b_only'; did you mean 'b_b_only'"):
        plugins.metric("b_only", prefixes)


def test_largest_k(two):
    plugins = manager(two[0])
    assert plugins.largest_k([]) == plugins.largest_k(["shared_exact"]) == 1
    assert plugins.largest_k(["shared_pass@5", "shared_exact", "shared_pass@12"]) == 12


@given(st.integers(min_value=1, max_value=10**9))
def test_any_positive_k(k):
    owner = _one().metric(f"shared_pass@{k}")
    assert (owner.k, owner.base_name) == (k, f"shared_pass@{k}")


@given(st.text(max_size=12))
def test_nothing_else_is_a_k(text):
    if text.isascii() and text.isdigit() and text[0] != "0":
        return
    with pytest.raises(wmtp.ConfigError, match="unknown metric"):
        _one().metric(f"shared_pass@{text}")


@functools.cache
def _one():
    class Plugin:
        name = "wmtp-eval-a"

        @wmtp.hookimpl
        def wmtp_evaluators(self):
            return [wmtp.EvaluatorSpec(id="a-v1", summary="an evaluator", metrics=("shared_pass@{k}",))]

        @wmtp.hookimpl
        def wmtp_evaluate(self, task):
            return None

    return manager(Plugin())


@pytest.mark.parametrize("distribution", KNOWN)
def test_an_unknown_metric_names_the_distribution_that_has_it(distribution):
    plugins = manager()
    for template in KNOWN[distribution].get("metric", ()):
        name = template.replace("{k}", "10")
        with pytest.raises(wmtp.ConfigError, match=f"{distribution} provides it: pip install {distribution}"):
            plugins.metric(name)


def test_a_broken_provider_is_named_with_its_own_error(distributions, monkeypatch):
    distributions("wmtp-eval-humaneval", "import a_library_that_is_gone")
    monkeypatch.setenv("WMTP_PLUGINS", "wmtp-eval-humaneval")
    with pytest.raises(wmtp.ConfigError) as caught:
        create_plugin_manager().metric("humaneval_pass@1")
    assert "No module named 'a_library_that_is_gone'" in str(caught.value)
    assert "pip install --upgrade --force-reinstall wmtp-eval-humaneval" in str(caught.value)


def test_a_blocked_provider_is_named(distributions, monkeypatch):
    distributions("wmtp-eval-humaneval", "")
    monkeypatch.setenv("WMTP_PLUGINS", "")
    with pytest.raises(wmtp.ConfigError, match=r"wmtp-eval-humaneval 1\.0 provides it, but is blocked: not in WMTP_PL"):
        create_plugin_manager().metric("humaneval_pass@1")


def test_the_table_of_known_distributions_is_true():
    """What core says of the distributions of this repository is what they register."""
    listing = {i.distribution: i for i in create_plugin_manager().listing() if i.state == "loaded"}
    for distribution, provides in KNOWN.items():
        if distribution in listing:
            for kind, names in provides.items():
                assert set(names) == set(listing[distribution].provides[kind]), (distribution, kind)
    assert known_provider("storage mode", "s3") == "wmtp-s3"
    assert known_provider("metric", "mbpp_pass@0") is None


def test_evaluate_calls_the_owner_and_nobody_else(two):
    called = []
    for module in two:
        module.answer = lambda t, name=module.__name__: (called.append(name), result(t.evaluator, *t.metrics))[1]
    plugins = manager(*two)
    owner = plugins.evaluators["b-v1"]
    assert plugins.evaluate(task("b-v1", "b_only"), owner).metrics["b_only"].value == 1.0
    assert called == ["wmtp-eval-b"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda t: None, "wmtp_evaluate of wmtp-eval-a 1.0 returned None for 'a-v1', not a wmtp.EvaluationResult"),
        (lambda t: {"a_only": 1.0}, "returned a dict for 'a-v1'"),
        (lambda t: result("a-v1", "a_only", "b_only"), "wmtp-eval-a 1.0 returned metrics it was not asked for: b_only"),
        (lambda t: result("a-v1"), "did not return the metrics it was asked for: a_only"),
    ],
)
def test_a_wrong_answer_of_evaluate(two, answer, says):
    two[0].answer = answer
    plugins = manager(*two)
    with pytest.raises(wmtp.PluginError, match=says):
        plugins.evaluate(task("a-v1", "a_only"), plugins.evaluators["a-v1"])


def test_what_evaluate_raises_goes_through(two):
    def answer(task):
        raise ZeroDivisionError("mine")

    two[0].answer = answer
    plugins = manager(*two)
    with pytest.raises(ZeroDivisionError, match="mine"):
        plugins.evaluate(task("a-v1", "a_only"), plugins.evaluators["a-v1"])


OBSERVER = """
    import wmtp
    seen = []

    @wmtp.hookimpl
    def wmtp_run_started(run_name):
        seen.append(run_name)
        {body}

    @wmtp.hookimpl
    def wmtp_run_finished(results):
        seen.append(results)
"""


def test_an_observer_that_raises_is_reported_once_and_dropped(plugin_module, caplog):
    bad = plugin_module("wmtp-bad", OBSERVER.format(body="raise ValueError('tracker is down')"))
    good = plugin_module("wmtp-good", OBSERVER.format(body="pass"))
    plugins = manager(bad, good)
    with caplog.at_level(logging.WARNING, "wmtp"):
        plugins.notify("wmtp_run_started", run_name="r", metrics=("m",))
        plugins.notify("wmtp_run_started", run_name="r2", metrics=("m",))
        plugins.notify("wmtp_run_finished", run_name="r", results={})
        plugins.notify("wmtp_sample_judged", sample=None, verdict=None)  # nobody listens
    assert bad.seen == ["r"]
    assert good.seen == ["r", "r2", {}]
    messages = [r.getMessage() for r in caplog.records]
    assert messages == ["observer wmtp_run_started of wmtp-bad failed and is left out: ValueError('tracker is down')"]


def test_plugin_info_says_what_is_provided(two):
    info = {i.distribution: i for i in manager(two[0]).listing()}["wmtp-eval-a"]
    assert info.provides == {"evaluator": ("a-v1",), "metric": ("shared_exact", "shared_pass@{k}", "a_only")}
