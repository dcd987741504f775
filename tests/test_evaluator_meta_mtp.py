"""The meta-mtp evaluator calls the owners of the metrics, one by one, and keeps each to its own."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import wmtp
from wmtp.evaluation.driver import ProtocolEvaluator
from wmtp.evaluation.meta_mtp import MetaMtpEvaluator

OWNER = """
    import wmtp

    @wmtp.hookimpl
    def wmtp_evaluators():
        return [wmtp.EvaluatorSpec(id="{id}", summary="a stand-in", metrics={metrics!r}, protocol={protocol!r})]

    @wmtp.hookimpl
    def wmtp_evaluate(task):
        if task.evaluator != "{id}":
            return None
        CALLS.append((task.evaluator, task.metrics))
        {body}
"""
ANSWER = (
    "return wmtp.EvaluationResult(evaluator=task.evaluator, counts={'passed': 1}, "
    "metrics={m: wmtp.MetricValue(value=%s, low=0.0, high=1.0, problems=1, samples=1) for m in task.metrics})"
)


class Owners:
    """Makes owners in memory, and keeps what they were called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[str, ...]]] = []

    def make(
        self, name: str, metrics: tuple[str, ...], body: str = ANSWER % 0.5, protocol: str | None = None
    ) -> ModuleType:
        module = ModuleType(f"{name}-dist")
        module.__version__ = "1.0"  # type: ignore[attr-defined]
        vars(module)["CALLS"] = self.calls
        exec(
            textwrap.dedent(OWNER.format(id=f"{name}-v1", metrics=metrics, body=body, protocol=protocol)), vars(module)
        )
        return module


@pytest.fixture
def owners() -> Owners:
    return Owners()


def _run(tmp_path: Path, metrics: list[str], *modules: ModuleType, **section: Any) -> wmtp.Results:
    plugins = wmtp.create_plugin_manager(plugins=modules, entry_points=False)
    environment = wmtp.load_config({"judging": {"level": "process", "workers": 1}}, plugins=plugins)
    body = {"model": {"base_id": "reference:"}, "eval": {"metrics": metrics, **section}}
    recipe = wmtp.load_recipe(body, plugins=plugins)
    return wmtp.evaluate(environment, recipe, plugins=plugins, runs=tmp_path / "runs")


def test_it_is_registered_and_serves_the_protocol() -> None:
    plugins = wmtp.create_plugin_manager()
    assert plugins.evaluators["meta-mtp-evaluator"].spec.protocol == "meta-mtp"
    assert plugins.protocol("meta-mtp").spec.id == "meta-mtp-evaluator"
    evaluator = wmtp.create_evaluator(wmtp.load_recipe(None, plugins=plugins))  # with the installed plugins
    assert isinstance(evaluator, MetaMtpEvaluator)
    assert evaluator.id == "meta-mtp-evaluator"


def test_it_names_no_benchmark() -> None:
    import wmtp.evaluation.meta_mtp as module

    source = Path(module.__file__).read_text(encoding="utf-8").lower()
    assert not [name for name in ("mbpp", "contest", "humaneval") if name in source]


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (["mbpp_exact"], {"mbpp_exact": 1.0}),
        (["mbpp_pass@1"], {"mbpp_pass@1": 1.0}),
        (["mbpp_pass@2", "mbpp_exact"], {"mbpp_pass@2": 1.0, "mbpp_exact": 1.0}),
    ],
)
def test_metrics_of_one_benchmark(
    metrics: list[str],
    expected: dict[str, float],
    evaluate: Callable[..., wmtp.Results],
    write_files: Callable[..., None],
    results: Callable[..., dict[str, Any]],
) -> None:
    settings = {"mbpp-v1": {"shots": 0}}
    write_files(eval={"metrics": metrics, "sampling": {"n": "auto"}, "evaluators": settings})
    found = evaluate()
    assert {name: value.value for name, value in found.metrics.items()} == expected
    assert list(results()["metrics"]) == metrics, "in the order they were asked for"
    n = 2 if "mbpp_pass@2" in metrics else 1
    assert results()["verdicts"] == {"mbpp-v1": {"passed": 6 * n}}


def test_metrics_of_several_owners_each_asked_only_for_its_own(tmp_path: Path, owners: Owners) -> None:
    zeta = owners.make("zeta", ("zeta_share",), ANSWER % 0.25)
    alpha = owners.make("alpha", ("alpha_pass@{k}", "alpha_exact"))
    idle = owners.make("idle", ("idle_metric",))
    found = _run(tmp_path, ["zeta_share", "alpha_exact", "alpha_pass@1"], zeta, alpha, idle)
    assert owners.calls == [("alpha-v1", ("alpha_exact", "alpha_pass@1")), ("zeta-v1", ("zeta_share",))]
    assert {name: value.value for name, value in found.metrics.items()} == {
        "zeta_share": 0.25,
        "alpha_exact": 0.5,
        "alpha_pass@1": 0.5,
    }
    assert found.complete
    assert found.to_json()["verdicts"] == {"alpha-v1": {"passed": 1}, "zeta-v1": {"passed": 1}}


def test_a_conflict_is_an_error_that_names_both_and_a_prefix_keeps_both(tmp_path: Path, owners: Owners) -> None:
    ours = owners.make("ours", ("shared_score",), ANSWER % 0.25)
    theirs = owners.make("theirs", ("shared_score",), ANSWER % 0.75)
    with pytest.raises(wmtp.ConfigError) as refused:
        _run(tmp_path, ["shared_score"], ours, theirs)
    assert all(text in str(refused.value) for text in ("ours-dist 1.0", "theirs-dist 1.0", "eval.metric_prefix"))
    assert owners.calls == []

    found = _run(tmp_path, ["shared_score", "t_shared_score"], ours, theirs, metric_prefix={"theirs-dist": "t_"})
    assert {name: value.value for name, value in found.metrics.items()} == {
        "shared_score": 0.25,
        "t_shared_score": 0.75,
    }
    assert owners.calls == [("ours-v1", ("shared_score",)), ("theirs-v1", ("shared_score",))]


VALUE = "wmtp.MetricValue(value=1.0, low=1, high=1, problems=1, samples=1)"
FAILURES = {
    "raises": ("raise ValueError('no such luck')", "ValueError: no such luck"),
    "exits": ("import sys; sys.exit(0)", "sys.exit(0)"),
    "answers None": ("return None", "returned None"),
    "answers a mapping": ("return {'bad_metric': 1.0}", "not a wmtp.EvaluationResult"),
    "answers bare numbers": (
        "return wmtp.EvaluationResult(evaluator='bad-v1', metrics={'bad_metric': 1.0})",
        "not a wmtp.MetricValue",
    ),
    "answers wrong counts": (
        f"return wmtp.EvaluationResult(evaluator='bad-v1', metrics={{'bad_metric': {VALUE}}}, counts={{'passed': 'all'}})",
        "counts",
    ),
    "answers for others": (
        f"return wmtp.EvaluationResult(evaluator='bad-v1', metrics={{m: {VALUE} for m in ('bad_metric', 'good_metric')}})",
        "metrics it was not asked for: good_metric",
    ),
    "answers nothing": ("return wmtp.EvaluationResult(evaluator='bad-v1', metrics={})", "did not return the metrics"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_an_owner_that_fails_costs_nobody_else_anything(tmp_path: Path, owners: Owners, how: str) -> None:
    body, message = FAILURES[how]
    good = owners.make("good", ("good_metric",), ANSWER % 0.25)
    found = _run(tmp_path, ["bad_metric", "good_metric"], owners.make("bad", ("bad_metric",), body), good)
    assert [who for who, _ in owners.calls] == ["bad-v1", "good-v1"], "the failure came first"
    assert found.metrics["good_metric"].value == 0.25
    assert found.metrics["bad_metric"].value is None
    assert not found.complete
    stored = json.loads((found.folder / "results.json").read_text(encoding="utf-8"))
    assert list(stored["failed_evaluators"]) == ["bad-v1"]
    assert stored["failed_evaluators"]["bad-v1"]["distribution"] == "bad-dist"
    assert message in stored["failed_evaluators"]["bad-v1"]["error"]
    assert "bad-v1" in (found.folder / "report.md").read_text(encoding="utf-8")
    assert "Traceback" in (found.folder / "log.txt").read_text(encoding="utf-8")


def test_ctrl_c_in_an_owner_is_the_users_and_ends_the_run(tmp_path: Path, owners: Owners) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(
            tmp_path,
            ["a_metric", "b_metric"],
            owners.make("a", ("a_metric",), "raise KeyboardInterrupt"),
            owners.make("b", ("b_metric",)),
        )
    assert [who for who, _ in owners.calls] == ["a-v1"]


def test_an_owner_cannot_answer_for_another(tmp_path: Path, owners: Owners) -> None:
    """The caller is restricted to the owner: a plugin that answers every task is asked only its own."""
    greedy = owners.make("greedy", ("greedy_metric",))
    vars(greedy)["wmtp_evaluate"] = wmtp.hookimpl(_answers_everything)
    good = owners.make("good", ("good_metric",), ANSWER % 0.25)
    found = _run(tmp_path, ["good_metric"], greedy, good)
    assert found.metrics["good_metric"].value == 0.25


def _answers_everything(task: wmtp.EvaluationTask) -> wmtp.EvaluationResult:
    value = wmtp.MetricValue(value=1.0, low=1, high=1, problems=1, samples=1)
    return wmtp.EvaluationResult(evaluator=task.evaluator, metrics=dict.fromkeys(task.metrics, value))


def test_a_plugin_may_serve_a_protocol_of_its_own(tmp_path: Path, owners: Owners) -> None:
    other = owners.make("other", ("other_metric",), ANSWER % 0.125, protocol="mine")
    plugins = wmtp.create_plugin_manager(plugins=[other], entry_points=False)
    recipe = wmtp.load_recipe({"eval": {"protocol": "mine"}}, plugins=plugins)
    evaluator = wmtp.create_evaluator(recipe, plugins=plugins)
    assert isinstance(evaluator, ProtocolEvaluator)
    assert evaluator.id == "other-v1"
    found = _run(tmp_path, ["other_metric"], other, protocol="mine")
    assert found.metrics["other_metric"].value == 0.125


def test_an_evaluator_of_a_protocol_has_a_store_like_every_other(tmp_path: Path, owners: Owners) -> None:
    body = (
        "task.store.expect(3); task.store.add_prompts({'p': 'ask'}); assert list(task.store.samples()) == []\n"
        "        assert len(task.store.generation_key({'form': 1})) == 16\n"
        f"        {ANSWER % 0.125}"
    )
    other = owners.make("other", ("other_metric",), body, protocol="mine")
    found = _run(tmp_path, ["other_metric"], other, protocol="mine")
    assert found.metrics["other_metric"].value == 0.125
    assert wmtp.open_run(found.folder).prompts("other-v1") == {"p": "ask"}
    assert list(found.folder.glob("*/meta-mtp-evaluator.jsonl")) == [], "a store in which nothing is put leaves no file"


def test_observers_hear_of_the_run_and_one_that_raises_is_dropped(
    tmp_path: Path, evaluate: Callable[..., wmtp.Results], write_files: Callable[..., None]
) -> None:
    heard: list[str] = []

    class Listening:
        @wmtp.hookimpl
        def wmtp_run_started(self, run_name: str) -> None:
            heard.append(f"started {run_name}")

        @wmtp.hookimpl
        def wmtp_sample_judged(self, sample: wmtp.Sample, verdict: wmtp.Verdict) -> None:
            heard.append(f"{sample.key.problem} {verdict.outcome.status}")

        @wmtp.hookimpl
        def wmtp_run_finished(self, results: dict[str, Any]) -> None:
            heard.append(f"finished {results['metrics']['mbpp_pass@1']['value']}")

    class Faulty:
        @wmtp.hookimpl
        def wmtp_sample_judged(self) -> None:
            heard.append("faulty")
            raise RuntimeError("the tracker is away")

    write_files(problems=3)
    found = evaluate(plugins=wmtp.create_plugin_manager(plugins=[Listening(), Faulty()]))
    assert found.complete
    assert heard.count("faulty") == 1
    rest = [line for line in heard if line != "faulty"]
    assert (rest[0], rest[-1]) == ("started run", "finished 1.0")
    assert sorted(rest[1:-1]) == ["11 passed", "12 passed", "13 passed"]
