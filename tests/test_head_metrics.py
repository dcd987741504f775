"""Per-head metrics from the command: the demo's model predicts worse the farther a head looks ahead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NAMES = [f"mbpp_head{i}_{what}" for what in ("loss", "top1") for i in range(1, 5)]


def run(wmtp: Any, *arguments: str, base: str = str(ROOT / "examples/demo-model"), metrics: list[str] = NAMES) -> Any:
    return wmtp(
        "eval", str(ROOT / "examples/demo-config.yaml"), str(ROOT / "examples/demo-model.yaml"),
        "--set", f"model.base_id={json.dumps(base)}", "--set", f"eval.metrics={json.dumps(metrics)}",
        "--set", "eval.evaluators={mbpp-heads-v1: {shots: 0}}", "--set", "run.name=heads", *arguments,
    )  # fmt: skip


def test_heads_get_worse_with_distance(wmtp: Any, tmp_path: Path) -> None:
    done = run(wmtp, "--json", "--set", "eval.limit=12")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)["metrics"]
    losses, shares = ([metrics[f"mbpp_head{i}_{what}"]["value"] for i in range(1, 5)] for what in ("loss", "top1"))
    assert losses == sorted(losses)
    assert losses[0] < losses[3]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.9, "it knows these twelve by heart"
    assert metrics["mbpp_head1_loss"]["unit"] == "nats"
    assert "unit" not in metrics["mbpp_head1_top1"]
    assert " nats |" in (tmp_path / "runs/heads/report.md").read_text(encoding="utf-8")


def test_a_head_that_is_not_there_is_told(wmtp: Any) -> None:
    done = run(wmtp, metrics=["mbpp_head5_top1"])
    assert done.returncode == 2
    assert "asks for head 5; the model has 4" in done.stderr


def test_replays_have_no_heads(wmtp: Any) -> None:
    done = run(wmtp, base="reference:", metrics=["mbpp_head1_loss"])
    assert done.returncode == 2
    assert "metrics of heads need a model" in done.stderr


def test_the_command_and_the_metrics_say_the_same(wmtp: Any) -> None:
    settings = "eval.evaluators={mbpp-heads-v1: {shots: 0}, mbpp-v1: {shots: 0}}"
    done = run(wmtp, "--json", "--set", "eval.limit=14", "--set", settings)
    assert done.returncode == 0, done.stderr
    metrics = {name: metric["value"] for name, metric in json.loads(done.stdout)["metrics"].items()}
    done = wmtp(
        "heads", str(ROOT / "examples/demo-model"), "--config", str(ROOT / "examples/demo-config.yaml"),
        "--benchmark", "mbpp", "--limit", "14", "--set", settings, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["texts"] == 14
    for head, row in enumerate([found["next_token"], *found["depths"]], 1):
        for what in ("loss", "top1"):
            assert abs(row[what] - metrics[f"mbpp_head{head}_{what}"]) < 1e-6, (head, what)


def test_replicas_score_as_one_engine_does(wmtp: Any) -> None:
    found = []
    for replicas in ("1", "2"):
        done = run(
            wmtp,
            "--json",
            "--set",
            "eval.limit=3",
            "--set",
            f"devices.replicas={replicas}",
            "--set",
            f"run.name=r{replicas}",
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout)["metrics"])
    assert found[0] == found[1]


def test_the_command_refuses_a_model_that_runs_elsewhere(wmtp: Any) -> None:
    done = wmtp("heads", str(ROOT / "examples/demo-model"), "--set", "model.loader=ray", "--benchmark", "mbpp")
    assert done.returncode == 2
    assert "model.loader: ray runs the model elsewhere" in done.stderr
