"""Runs as they are read again, and what is heard of them."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.config import load_configuration
from wmtp.contracts.loading import LoadRequest
from wmtp.events import RunFinished, RunStarted, SampleJudged
from wmtp.loaders import create_data_loader, create_model_loader
from wmtp.testing import FakeEngine, engine_plugin

Evaluate = Callable[..., wmtp.Results]


class Hearing:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def handle(self, event: Any) -> None:
        self.heard.append(event)

    def close(self) -> None: ...


def test_a_finished_run_is_read_with_record_samples_verdicts_values_and_prompts(
    tmp_path: Path, evaluate: Evaluate, write_files: Callable[..., None]
) -> None:
    write_files()
    results = evaluate()
    run = wmtp.open_run(tmp_path / "runs" / "run")
    assert run.record == results.record
    assert run.evaluators == ("mbpp-v1",)
    assert [v.key for v in run.verdicts("mbpp-v1")] == [s.key for s in run.samples("mbpp-v1")]
    values = run.values("mbpp-v1")
    assert set(values) == {"mbpp_exact", "mbpp_pass@1"}
    for metric, of in values.items():
        assert sum(of.values()) / len(of) == results.metrics[metric].value
    prompts = run.prompts("mbpp-v1")
    assert set(prompts) == {s.key.problem for s in run.samples("mbpp-v1")}
    assert all("Write a function to add" in str(prompt) for prompt in prompts.values())
    assert "made by" in (run.folder / "report.md").read_text(encoding="utf-8")
    assert "| wilson-effective |" in (run.folder / "report.md").read_text(encoding="utf-8")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(wmtp.ConfigError, match="no such run folder"):
        wmtp.open_run(tmp_path / "nowhere")
    with pytest.raises(wmtp.ConfigError, match="is no run folder"):
        wmtp.open_run(tmp_path)


def test_runs_are_listed(tmp_path: Path, evaluate: Evaluate, write_files: Callable[..., None], wmtp: Any) -> None:
    write_files()
    evaluate()
    (tmp_path / "runs" / "begun").mkdir()
    (tmp_path / "runs" / "begun" / "recipe.yaml").write_text("", encoding="utf-8")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "results.json").write_text("{", encoding="utf-8")
    done = wmtp("runs", "list", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)["runs"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "run": "complete", "begun": "unfinished", "broken": "damaged",
    }  # fmt: skip
    assert rows["run"]["metrics"]["mbpp_pass@1"]["value"] == 1.0
    assert "run  complete" in wmtp("runs", "list").stdout


def test_reading_runs_needs_no_torch(tmp_path: Path) -> None:
    script = "import sys, wmtp; wmtp.open_run; print({'torch', 'transformers', 'pluggy', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_look_at_fewer_problems_does_not_replace_the_results_of_all(
    tmp_path: Path, evaluate: Evaluate, write_files: Callable[..., None]
) -> None:
    write_files()
    evaluate("eval.limit=2")
    folder = tmp_path / "runs" / "run"
    assert wmtp.open_run(folder).record.metrics["mbpp_pass@1"].problems == 2  # type: ignore[union-attr]
    evaluate()
    whole = {name: (folder / name).read_bytes() for name in ("results.json", "report.md", "values/mbpp-v1.jsonl")}
    found = evaluate("eval.limit=3")
    assert found.metrics["mbpp_pass@1"].problems == 3
    assert {name: (folder / name).read_bytes() for name in whole} == whole
    assert (
        json.loads((folder / "results.limit-3.json").read_text(encoding="utf-8"))["metrics"]["mbpp_pass@1"]["problems"]
        == 3
    )


def test_every_run_that_is_started_is_heard_to_end(evaluate: Evaluate, write_files: Callable[..., None]) -> None:
    write_files()
    hearing, failing = Hearing(), Hearing()
    results = evaluate(listeners=[hearing])
    assert isinstance(hearing.heard[0], RunStarted)
    assert hearing.heard[-1].record == results.record
    assert sum(isinstance(event, SampleJudged) for event in hearing.heard) == 6
    write_files(model={"base_id": "/no/such/folder"}, run={"name": "other"})
    with pytest.raises(wmtp.WmtpError):
        evaluate(listeners=[failing])
    assert isinstance(failing.heard[-1], RunFinished)
    assert failing.heard[-1].record is None
    assert isinstance(failing.heard[-1].error, wmtp.ResourceError)


def test_no_part_of_a_run_waits_for_a_listener_and_none_loses_an_event(
    evaluate: Evaluate, write_files: Callable[..., None], tmp_path: Path
) -> None:
    """The listener's gate opens when the run says that it has ended: it would stand for ever if anything waited for it. The
    page is written behind that."""
    write_files(problems=20)
    gate, there = threading.Event(), []

    class Slow(Hearing):
        def handle(self, event: Any) -> None:
            assert gate.wait(120), "the run has waited for its listener"
            super().handle(event)

    def finished(results: wmtp.Results) -> None:
        there.extend(sorted(path.name for path in results.folder.glob("re*.*")))
        assert slow.heard == []
        gate.set()

    slow, quick = Slow(), Hearing()
    results = evaluate(listeners=[slow, quick], finished=finished)
    assert there == ["recipe.yaml", "report.md", "results.json"]
    assert (results.folder / "report.html").exists()
    assert slow.heard == quick.heard
    assert sum(isinstance(event, SampleJudged) for event in slow.heard) == 20
    assert slow.heard[-1].record == results.record


def test_what_goes_wrong_while_results_are_shown_is_not_the_runs(
    evaluate: Evaluate, write_files: Callable[..., None], tmp_path: Path
) -> None:
    write_files()
    heard = Hearing()

    def finished(results: wmtp.Results) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        evaluate(listeners=[heard], finished=finished)
    assert heard.heard[-1].record is not None
    assert heard.heard[-1].error is None
    assert (tmp_path / "runs/run/report.html").exists()


def test_a_user_who_stops_the_waiting_is_told_what_a_listener_has_not_heard(
    evaluate: Evaluate, write_files: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_files()
    gate = threading.Event()

    class Stuck(Hearing):
        def handle(self, event: Any) -> None:
            gate.wait(120)

    class Ctrl:
        """Ctrl-C while the listener is waited for: the log's own words say when that is."""

        def filter(self, record: logging.LogRecord) -> bool:
            if "waiting for listener" in record.getMessage():
                raise KeyboardInterrupt
            return True

    log = logging.getLogger("wmtp.events")
    ctrl = Ctrl()
    log.addFilter(ctrl)
    try:
        with caplog.at_level(logging.INFO, "wmtp"), pytest.raises(KeyboardInterrupt):
            evaluate(listeners=[Stuck()])
    finally:
        log.removeFilter(ctrl)
        gate.set()
    assert "listener Stuck is left, as it was asked to stop; events it has not heard: " in caplog.text
    assert wmtp.open_run(tmp_path / "runs" / "run").record.complete  # type: ignore[union-attr]


def test_trackers_of_a_config_hear_of_a_run_that_python_starts(
    evaluate: Evaluate, write_files: Callable[..., None], tmp_path: Path
) -> None:
    config = {"paths": {"datasets": {"mbpp_local": "problems.jsonl"}}, "judging": {"level": "process"}}
    write_files(config={**config, "tracking": {"count": {"path": str(tmp_path / "counts.json")}}})
    plugins = wmtp.create_plugin_manager(allow=["wmtp-eval-mbpp", "wmtp-sample-plugin"])
    evaluate(plugins=plugins)
    counts = json.loads((tmp_path / "counts.json").read_text(encoding="utf-8"))
    assert (counts["RunStarted"], counts["SampleJudged"], counts["RunFinished"]) == (1, 6, 1)


def test_what_judges_nothing_needs_no_sandbox(
    tmp_path: Path, write_files: Callable[..., None], monkeypatch: pytest.MonkeyPatch, evaluate: Evaluate
) -> None:
    from wmtp import judging

    def refuse(**_: Any) -> None:
        raise wmtp.JudgeError("no sandbox here")

    monkeypatch.setattr(judging, "open_judge", refuse)

    class Counting:
        __version__ = "1"

        @wmtp.hookimpl
        def wmtp_evaluators(self) -> list[wmtp.EvaluatorSpec]:
            return [wmtp.EvaluatorSpec(id="count-v1", summary="counts", metrics=("count",), samples=False)]

        @wmtp.hookimpl
        def wmtp_evaluate(self, task: wmtp.EvaluationTask) -> wmtp.EvaluationResult | None:
            if task.evaluator != "count-v1":
                return None
            value = wmtp.MetricValue(value=1.0, low=1.0, high=1.0, problems=1, samples=0)
            return wmtp.EvaluationResult(evaluator="count-v1", metrics={"count": value}, values={"count": {"p": 1.0}})

    write_files(eval={"metrics": ["count"]})
    plugins = wmtp.create_plugin_manager(plugins=[Counting()])
    results = evaluate(plugins=plugins)
    assert results.complete
    assert results.record.judging.level == ""
    assert wmtp.open_run(tmp_path / "runs" / "run").values("count-v1") == {"count": {"p": 1.0}}


def test_a_plugins_own_error_names_method_and_problem(
    evaluate: Evaluate, write_files: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from wmtp_eval_mbpp.benchmark import Mbpp

    def broken(self: Any, problem: Any, code: str) -> Any:
        return {}["tests"]

    monkeypatch.setattr(Mbpp, "program", broken)
    write_files()
    with pytest.raises(wmtp.PluginError, match=r"Mbpp\.program of mbpp-v1 failed on problem 11, sample 0: KeyError"):
        evaluate()
    assert "Traceback" in (tmp_path / "runs" / "run" / "log.txt").read_text(encoding="utf-8")


def test_a_load_request_travels_and_fetches_by_the_same_chain(
    tmp_path: Path, write_files: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    write_files(model={"base_id": "./model"})
    plugins = wmtp.create_plugin_manager()
    config, recipe = load_configuration(tmp_path / "config.yaml", tmp_path / "recipe.yaml", plugins=plugins)
    loader = create_model_loader(config, recipe, plugins=plugins)
    request = LoadRequest(reference=loader.reference, fetch=loader.resolve, device="cpu")
    there = pickle.loads(pickle.dumps(request))
    assert there == request
    assert there.fetch(("config.json",)).path == tmp_path / "model"


def test_a_scheme_of_a_plugins_own_is_its_engines_alone(write_files: Callable[..., None], evaluate: Evaluate) -> None:
    engine = FakeEngine(lambda request: request.reference or "")
    plugins = wmtp.create_plugin_manager(plugins=[engine_plugin(engine, "shout://host/v1")])
    write_files(model={"base_id": "shout://host/v1"})
    assert evaluate(plugins=plugins).complete


def test_a_data_set_fetches_what_each_call_asks_for_and_hears_the_limit(
    tmp_path: Path, write_files: Callable[..., None], evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    for name in ("a.jsonl", "b.txt"):
        (store / name).write_text("{}\n", encoding="utf-8")
    heard: list[Any] = []

    def load(request: wmtp.DatasetRequest) -> list[dict[str, Any]]:
        first = request.fetch(("*.jsonl",)).path
        second = request.fetch(("*.txt",)).path
        heard.append((sorted(p.name for p in first.iterdir() if not p.name.startswith(".")), request.limit))
        heard.append(sorted(p.name for p in second.iterdir() if not p.name.startswith(".")))
        return []

    class Own:
        __version__ = "1"

        @wmtp.hookimpl
        def wmtp_datasets(self) -> list[wmtp.DatasetSpec]:
            return [wmtp.DatasetSpec(name="own", summary="two files", load=load)]

    plugins = wmtp.create_plugin_manager(plugins=[Own()])
    config = wmtp.load_config({"paths": {"cache": str(tmp_path / "cache")}}, plugins=plugins)
    loader = create_data_loader(config, "own", plugins=plugins, path=f"file://{store}")
    loader.rows("test", 3)
    assert heard == [(["a.jsonl"], 3), ["b.txt"]]


def test_damaged_keys_are_told_as_what_can_be_removed(
    tmp_path: Path, evaluate: Evaluate, write_files: Callable[..., None]
) -> None:
    write_files()
    evaluate()
    keys = tmp_path / "runs" / "run" / "keys.json"
    whole = keys.read_bytes()
    keys.write_bytes(whole[:20])
    with pytest.raises(wmtp.ConfigError, match="remove it: each line carries its own key"):
        evaluate()
    keys.unlink()
    assert evaluate().complete
    assert keys.read_bytes() == whole


def test_a_plugin_that_somebody_installed_changes_no_test_of_ours(tmp_path: Path, wmtp: Any) -> None:
    """The suite passes where an author has installed a plugin: commands in it see the plugins of this repository alone."""
    info = tmp_path / "site/wmtp_stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wmtp-stranger\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[wmtp]\nstranger = wmtp_stranger\n", encoding="utf-8")
    (tmp_path / "site/wmtp_stranger.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    listed = wmtp("plugins", "list", "--json", PYTHONPATH=str(tmp_path / "site"))
    states = {one["distribution"]: one["state"] for one in json.loads(listed.stdout)["plugins"]}
    assert states["wmtp-core"] == "loaded"
    assert states["wmtp-stranger"] == "blocked"
