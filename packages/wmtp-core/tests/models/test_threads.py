"""Threads of the CPU are chosen once, are those that decode, and stay with the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import wmtp
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.generation import threads
from wmtp.generation.engine import DecodingEngine
from wmtp.models import load_model


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def watched(module: Any) -> list[int]:
    """The threads of every pass through a module, as they will be."""
    seen: list[int] = []
    module.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    return seen


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("slow", [1, 2])
def test_auto_takes_the_faster_number_and_leaves_torchs_own(
    folder: Path, slow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(folder).model
    seen = watched(model.lm_head)
    clock = iter(range(10_000))
    monkeypatch.setattr(
        threads.time, "perf_counter", lambda: next(clock) + (1000 * len(seen) if seen[-1] == slow else 0)
    )
    assert threads.chosen_threads(model, None) == 3 - slow
    assert set(seen) == {1, 2}
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_given_number_decodes_and_is_put_back(folder: Path) -> None:
    loaded = load_model(folder)
    seen = watched(loaded.model.lm_head)
    engine = DecodingEngine(
        loaded.model, loaded.tokenizer, identity={}, threads=threads.chosen_threads(loaded.model, 1)
    )
    key = SampleKey(evaluator="e", problem="p", index=0)
    request = GenerationRequest(key=key, prompt="def", max_new_tokens=4, stop=())
    for _ in engine.generate([request], Sampling(temperature=0.0)):
        assert torch.get_num_threads() == 2
    assert set(seen) == {1}
    assert engine.origin["threads"] == "1"


@pytest.mark.usefixtures("two_threads")
def test_a_run_goes_on_with_the_threads_that_it_was_begun_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = wmtp.create_plugin_manager()
    config = wmtp.load_config({"judging": {"level": "process", "workers": 1}}, plugins=plugins)

    def run(n: int) -> dict[str, Any]:
        recipe = {
            "model": {"base_id": str(folder)},
            "eval": {"metrics": ["toy_pass@1"], "limit": 1, "sampling": {"n": n, "max_new_tokens": 4}},
        }
        results = wmtp.evaluate(
            config, wmtp.load_recipe(recipe, plugins=plugins), plugins=plugins, runs=tmp_path / "runs"
        )
        kept: dict[str, Any] = json.loads((results.folder / "engine.json").read_text(encoding="utf-8"))
        return kept

    asked: list[int | None] = []

    def choose(model: Any, number: int | None) -> int:
        asked.append(number)
        return number or 1

    monkeypatch.setattr(threads, "chosen_threads", choose)
    assert run(1)["origin"]["threads"] == "1"
    assert run(2)["origin"]["threads"] == "1"
    assert asked == [None, 1]
