"""A model that a program has in memory is evaluated as it is, and a run knows it by its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import wmtp
from wmtp.errors import ConfigError
from wmtp.models import load_model


@pytest.fixture
def loaded(folder: Path) -> Any:
    return load_model(folder)


def run(engine: Any, runs: Path, name: str = "memory") -> wmtp.Results:
    plugins = wmtp.create_plugin_manager()
    recipe = {
        "run": {"name": name},
        "eval": {"metrics": ["toy_pass@1"], "limit": 2, "sampling": {"temperature": 0.0, "max_new_tokens": 8}},
    }
    return wmtp.evaluate(
        wmtp.load_config({"judging": {"level": "process", "workers": 1}}, plugins=plugins),
        wmtp.load_recipe(recipe, plugins=plugins),
        plugins=plugins, engine=engine, runs=runs,
    )  # fmt: skip


def texts(folder: Path) -> list[str]:
    return [sample.completion for sample in wmtp.open_run(folder).samples("toy-v1")]


def test_a_model_in_memory_writes_what_its_folder_writes(loaded: Any, folder: Path, tmp_path: Path) -> None:
    results = run(wmtp.engine(loaded.model, loaded.tokenizer), tmp_path / "runs")
    assert results.complete
    plugins = wmtp.create_plugin_manager()
    recipe = wmtp.load_recipe({"model": {"base_id": str(folder)}}, plugins=plugins)
    stored = wmtp.create_model_loader(wmtp.load_config({}, plugins=plugins), recipe, plugins=plugins).load()
    again = run(stored, tmp_path / "runs", "folder")
    assert texts(results.folder) == texts(again.folder)
    assert len(texts(results.folder)) == 2


def test_a_run_is_gone_on_with_by_the_same_weights_alone(loaded: Any, tmp_path: Path) -> None:
    run(wmtp.engine(loaded.model, loaded.tokenizer), tmp_path / "runs")
    run(wmtp.engine(loaded.model, loaded.tokenizer), tmp_path / "runs")
    with torch.no_grad():
        loaded.model.lm_head.weight[0, 0] += 1
    with pytest.raises(ConfigError, match="weights_sha256"):
        run(wmtp.engine(loaded.model, loaded.tokenizer), tmp_path / "runs")


def test_the_engine_stays_open(loaded: Any, tmp_path: Path) -> None:
    engine = wmtp.engine(loaded.model, loaded.tokenizer)
    closed: list[bool] = []
    engine.close = lambda: closed.append(True)  # type: ignore[attr-defined]
    run(engine, tmp_path / "runs")
    assert not closed


def test_what_is_no_model_and_what_has_no_values_is_told(loaded: Any) -> None:
    with pytest.raises(ConfigError, match="the model is a str"):
        wmtp.engine("a/folder", loaded.tokenizer)
    with torch.device("meta"):
        empty = type(loaded.model)(loaded.model.config)
    with pytest.raises(ConfigError, match="meta device"):
        wmtp.engine(empty, loaded.tokenizer)
