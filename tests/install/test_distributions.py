"""The built wheels in real environments: each plugin alone with core, none, all; without torch and without the source."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ("apps", "codecontests", "evalplus", "humaneval", "livecodebench", "mbpp")
PLUGINS = (*(f"wmtp-eval-{name}" for name in BENCHMARKS), "wmtp-s3")
METRIC = {
    "wmtp-eval-apps": "apps_pass@1",
    "wmtp-eval-codecontests": "contest_pass@1",
    "wmtp-eval-evalplus": "humaneval_plus_pass@1",
    "wmtp-eval-humaneval": "humaneval_pass@1",
    "wmtp-eval-livecodebench": "livecodebench_pass@1",
    "wmtp-eval-mbpp": "mbpp_pass@1",
}


def evaluate(where: Any, *metrics: str, **variables: str) -> subprocess.CompletedProcess[str]:
    chosen = f"eval.metrics=[{', '.join(metrics)}]"
    files = ("examples/demo-config.yaml", "examples/demo-reference.yaml")
    return where.wmtp("eval", *files, "--set", chosen, "--set", "run.name=some", "--fresh", "--json", **variables)


@pytest.mark.parametrize("plugin", [None, *PLUGINS], ids=lambda p: p or "none")
def test_one_plugin_alone(installation, plugin: str | None) -> None:
    where = installation(*([plugin] if plugin else []))
    assert where.listed() == ({plugin: "loaded"} if plugin else {})
    listed = where.metrics()
    for distribution, metric in METRIC.items():
        assert (metric.split("@")[0] in listed) == (distribution == plugin)
    others = [name for name in METRIC if name != plugin]
    # Another one for each: six runs cost as many seconds.
    missing = others[PLUGINS.index(plugin) % len(others) if plugin else -1]
    done = evaluate(where, METRIC[missing])
    assert done.returncode == 2
    assert f"pip install {missing}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_evaluation_without_torch(installation) -> None:
    where = installation("wmtp-eval-mbpp")
    done = evaluate(where, "mbpp_exact", "mbpp_pass@1")
    assert done.returncode == 0, done.stderr
    assert {m: v["value"] for m, v in json.loads(done.stdout)["metrics"].items()} == {
        "mbpp_exact": 1.0,
        "mbpp_pass@1": 1.0,
    }


def test_a_local_model_without_torch_names_the_pip_line(installation) -> None:
    where = installation("wmtp-eval-mbpp")
    done = where.wmtp("eval", "examples/demo-config.yaml", "examples/demo-model.yaml")
    assert done.returncode == 2
    assert 'pip install "wmtp-core[torch]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_all_plugins_each_alone_and_each_left_out(installation) -> None:
    where = installation(*PLUGINS)
    assert where.listed() == dict.fromkeys(PLUGINS, "loaded")
    everyone = frozenset(PLUGINS)
    for chosen in {frozenset(), *(frozenset({p}) for p in PLUGINS), *(everyone - {p} for p in PLUGINS)}:
        states = where.listed(WMTP_PLUGINS=",".join(chosen))
        assert {p for p, state in states.items() if state == "loaded"} == chosen
    listed = where.metrics(WMTP_PLUGINS="wmtp-eval-mbpp")
    assert "mbpp_pass@" in listed
    assert "contest_pass@" not in listed
    done = evaluate(where, "mbpp_pass@1", WMTP_PLUGINS="wmtp-eval-mbpp,wmtp-s3")
    assert done.returncode == 0, done.stderr
    done = evaluate(where, "contest_pass@1", WMTP_PLUGINS="wmtp-eval-mbpp")
    assert done.returncode == 2
    assert "wmtp-eval-codecontests" in done.stderr


@pytest.mark.parametrize(
    ("setting", "distribution"),
    [
        ("model.base_id=openai:http://127.0.0.1:9/v1", "wmtp-openai"),
        ("model.loader=ray", "wmtp-ray"),
        ("judging.where=ray", "wmtp-ray"),
    ],
)
def test_what_runs_elsewhere_is_named_where_it_is_not_installed(installation, setting: str, distribution: str) -> None:
    done = installation("wmtp-eval-mbpp").wmtp(
        "eval", "examples/demo-config.yaml", "examples/demo-reference.yaml", "--set", setting
    )
    assert done.returncode == 2
    assert f"pip install {distribution}" in done.stderr
    assert "Traceback" not in done.stderr


def test_plugins_for_elsewhere_are_listed_without_what_they_run_on(installation) -> None:
    where = installation("wmtp-eval-mbpp", "wmtp-openai", "wmtp-ray")
    assert set(where.listed().values()) == {"loaded"}
    done = where.wmtp("eval", "examples/demo-config.yaml", "examples/demo-reference.yaml", "--set", "judging.where=ray")
    assert done.returncode == 2
    assert "wmtp-ray needs Ray itself: pip install" in done.stderr


def test_the_public_api_of_the_wheels(installation, run, tmp_path: Path) -> None:
    where = installation(*PLUGINS)
    shutil.copy(ROOT / "tests/test_public_api.py", tmp_path)
    done = run(where.python, "-m", "pytest", "-q", tmp_path, "-p", "no:cacheprovider", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    located = run(where.python, "-c", "import wmtp; print(wmtp.__file__)", cwd=tmp_path)
    assert "site-packages" in located.stdout


def test_a_plugins_command_section_and_tracker_with_core_alone(installation, tmp_path: Path) -> None:
    """`wmtp --help` names the command and imports neither it nor torch; the command runs, and reads its section."""
    place = installation("wmtp-sample-plugin")
    script = (
        "import sys\n"
        "from wmtp.cli import main\n"
        "status = main(['--help'])\n"
        "print(status, *({'torch', 'wmtp_sample_plugin.extras'} & set(sys.modules)))"
    )
    for _ in range(2):  # the plugin's hooks are asked once, and then not even they are imported
        done = subprocess.run(
            [place.python, "-c", script],
            cwd=place.cwd,
            env={"XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[-1] == "0", done.stdout + done.stderr
        assert "  hello    Greet whom RECIPE says.\n" in done.stdout
    assert place.wmtp("hello").stdout == "Hello, world!\n"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("greeting: {name: you}\n", encoding="utf-8")
    assert place.wmtp("hello", str(recipe)).stdout == "Hello, you!\n"
    recipe.write_text("greeting: {nam: you}\n", encoding="utf-8")
    done = place.wmtp("hello", str(recipe))
    assert done.returncode == 2
    assert f"recipe.greeting.nam ({recipe}, line 1): unknown key; did you mean 'name'?" in done.stderr


def test_training_and_trackers_load_without_what_they_need_to_work_and_say_what_that_is(installation) -> None:
    where = installation("wmtp-train", "wmtp-mlflow", "wmtp-tensorboard", "wmtp-eval-mbpp")
    assert set(where.listed().values()) == {"loaded"}
    for command in ("train", "run", "checkpoints", "critic"):
        assert where.wmtp(command, "--help").returncode == 0
    done = where.wmtp("train", "examples/demo-config.yaml", "examples/train-demo.yaml")
    assert done.returncode == 2, done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr
    refused = where.wmtp(
        "config", "check", "examples/demo-config.yaml", "--set", "tracking.mlflow.tracking_uri=s3://bucket/mlruns"
    )
    assert "mlflow server --artifacts-destination" in refused.stderr + refused.stdout
