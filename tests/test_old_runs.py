"""Run folders that older code wrote are gone on with: same keys, same samples, same results. See old_runs/README.md."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from wmtp import create_plugin_manager, evaluate
from wmtp.config import load_configuration
from wmtp.judging.judge import SandboxJudge

OLD = Path(__file__).parent / "old_runs"
TIMES = (
    "seconds",
    "cpu_seconds",
    "wall_seconds",
    "peak_mib",
    "extra",
)  # extra: newer samples name the rule of extraction


def _rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The last line of every sample, without its times and what older code did not store."""
    lines = (folder / kind / "mbpp-v1.jsonl").read_text(encoding="utf-8").splitlines()
    last = {(row["problem"], row["index"]): row for row in map(json.loads, lines)}
    return [{k: v for k, v in last[key].items() if k not in TIMES} for key in sorted(last)]


@pytest.mark.parametrize("name", ["model", "reference", "stored"])
def test_a_run_that_older_code_began_is_brought_to_the_end_that_it_would_have_had(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))[name]
    judge = {k: v for k, v in expected["keys"]["judge"]["mbpp-v1"].items() if not k.startswith("setting ")}
    # A newer judge, or another Python, rightly judges again: not what is asked here.
    monkeypatch.setattr(SandboxJudge, "identity", property(lambda self: judge))
    folder = tmp_path / "runs" / name
    shutil.copytree(OLD / name, folder)
    before = {kind: (folder / kind / "mbpp-v1.jsonl").read_bytes() for kind in ("samples", "verdicts")}
    plugins = create_plugin_manager()
    config, recipe = load_configuration(OLD / "config.yaml", OLD / f"{name}.yaml", plugins=plugins)

    results = evaluate(config, recipe, plugins=plugins, runs=tmp_path / "runs")

    assert results.complete, results.shortcomings()
    for kind, bytes_ in before.items():
        whole_lines = bytes_[: bytes_.rfind(b"\n") + 1]
        assert (folder / kind / "mbpp-v1.jsonl").read_bytes().startswith(whole_lines), f"{kind} were written anew"
    assert json.loads((folder / "keys.json").read_text(encoding="utf-8")) == expected["keys"]
    assert _rows(folder, "samples") == expected["samples"]
    assert _rows(folder, "verdicts") == expected["judged"]
    body = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert {k: {m: v[m] for m in ("value", "problems", "samples")} for k, v in body["metrics"].items()} == {
        k: {m: v[m] for m in ("value", "problems", "samples")} for k, v in expected["metrics"].items()
    }
    assert body["verdicts"] == expected["verdicts"]
