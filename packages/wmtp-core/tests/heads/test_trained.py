"""Heads that were trained: the check names their convention, and what is expected of them is what decoding counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import wmtp
import wmtp.generation.decoder
from wmtp.contracts.engines import Sampling
from wmtp.heads.check import check_convention
from wmtp.models.architectures.load import StoredModules
from wmtp.models.load import load_model

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo() -> Iterator[Any]:
    torch.set_num_threads(1)
    sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "benchmarks")]
    import acceptance

    yield acceptance
    del sys.path[:2]


@pytest.fixture(scope="module")
def trunk(demo: Any) -> Any:
    return demo.demo.train_trunk(demo.demo.batch(demo.demo.solutions()), 160)


def texts(demo: Any) -> list[tuple[list[int], int]]:
    coder = demo.demo.tokenizer()
    return [([0, *coder(text)["input_ids"], 1], 1) for text in demo.demo.solutions()]


@pytest.mark.parametrize(("concat", "hidden", "zeroed"), [("he", "post", True), ("eh", "pre", False)])
def test_the_check_names_the_convention_that_modules_were_trained_with(
    demo: Any, trunk: Any, tmp_path: Path, concat: Any, hidden: Any, zeroed: bool
) -> None:
    ids = demo.demo.batch(demo.demo.solutions())
    convention = wmtp.Convention(concat=concat, hidden=hidden, zero_first=zeroed)
    modules = demo.demo.train_module(trunk, ids, convention, 150)
    found = check_convention(modules, texts(demo), 1)
    assert found.trained, found.says()
    best = found.best.convention
    assert (best.concat, best.hidden) == (concat, hidden)
    rows = found.to_json()["variants"]
    others = [r for r in rows if (r["concat"], r["hidden"]) != (concat, hidden)]
    assert len(others) == 6
    assert rows[0]["intervals"]["loss"][1] < min(r["intervals"]["loss"][0] for r in others)
    assert found.margin.low is not None
    assert found.margin.low > 0
    assert ("NOT as" in found.says()) == (concat == "eh")
    assert modules.convention == convention, "it is left as it was"

    trunk.save_pretrained(tmp_path / "model")
    demo.demo.tokenizer().save_pretrained(tmp_path / "model")
    wmtp.save_modules(modules, tmp_path / "model")
    again = load_model(tmp_path / "model", device="cpu", architectures=[demo.demo.MIMO])
    assert str(again.heads) == "1 mimo module"
    assert again.modules is not None
    for name, tensor in modules.state_dict().items():
        assert torch.equal(tensor, again.modules.state_dict()[name]), name
    assert json.loads((tmp_path / "model/config.json").read_text())["model_type"] == "mimo"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_modules_are_not_trained(demo: Any, trunk: Any, seed: int) -> None:
    modules = wmtp.new_modules(trunk, demo.demo.MIMO, seed=seed)
    for parameter in modules.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0, 0.15)
    found = check_convention(modules.eval(), texts(demo), 1)
    assert not found.trained
    assert found.says().startswith("not trained")


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_expected_acceptance_is_what_decoding_counts(
    demo: Any, trunk: Any, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    """All of it: `benchmarks/acceptance.py`."""
    monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_CHECK_AFTER", 1 << 60)
    ids = demo.demo.batch(demo.demo.solutions())
    modules = demo.demo.train_module(trunk, ids, demo.demo.MIMO.convention, 50).requires_grad_(False)
    stored = StoredModules(demo.demo.MIMO, 1, lambda: modules)
    inside = rates = 0
    for seed in range(4):
        found = list(demo.compared(trunk, stored, Sampling(temperature=temperature, seed=seed), 3))
        inside += all(low - 1e-6 <= counted <= high + 1e-6 for counted, _, low, high in found)
        rates += 0.2 < found[0][0] < 0.999
        if not temperature:
            assert all(abs(counted - expected) < 1e-6 for counted, expected, _, _ in found)
    assert inside >= 3
    assert rates, "always right or always wrong: nothing was compared"
