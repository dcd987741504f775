"""The toy of token weights: its arms differ in weights alone, and what it has shown holds."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def toy() -> Any:
    pytest.importorskip("wmtp_train", reason="its control random-matched is wmtp-train's")
    spec = importlib.util.spec_from_file_location("weights_benchmark", ROOT / "benchmarks/weights.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    torch.set_num_threads(1)
    return module


def test_every_arm_has_mean_one_exactly_and_the_table_names_all(toy: Any) -> None:
    found = toy.run(seeds=2, steps=3, reference_steps=10)
    assert list(found) == ["uniform", "oracle", "rho1 signed", "rho1 absolute", "shuffled", "random-matched"]
    for name, measured in found.items():
        assert all(arm.mean_off < 1e-5 for arm in measured), name
    assert all(arm.effective == pytest.approx(1, abs=1e-6) for arm in found["uniform"])
    assert all(arm.code > 1 > arm.junk for arm in found["oracle"])
    lines = toy.table(found)
    assert len(lines) == 2 + len(found)
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_arms_of_one_seed_see_the_same_rows_and_begin_alike(toy: Any) -> None:
    assert torch.equal(toy.rows(5, 0.35), toy.rows(5, 0.35))
    assert not torch.equal(toy.rows(5, 0.35), toy.rows(6, 0.35))
    one, two = (toy.model(3, 2).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_interval_is_students(toy: Any) -> None:
    mean, low, high = toy.interval([1.0, 2.0, 3.0, 4.0])
    assert (mean, (low + high) / 2) == (2.5, pytest.approx(2.5))
    assert high - mean == pytest.approx(3.182446 * statistics.stdev([1, 2, 3, 4]) / 2, rel=1e-5)


@pytest.mark.slow
def test_what_the_toy_has_shown_holds(toy: Any) -> None:
    """Acceptance of the weighting: an oracle helps, absolute excess harms, and weights that lost their tokens harm."""
    found = toy.run(seeds=8, steps=150)
    heads = {name: [arm.conditional[0] for arm in measured] for name, measured in found.items()}

    def minus(name: str, other: str) -> list[float]:
        return [a - b for a, b in zip(heads[name], heads[other], strict=True)]

    assert sum(d < 0 for d in minus("oracle", "uniform")) >= 7
    assert toy.interval(minus("oracle", "uniform"))[2] < 0
    for worse in ("shuffled", "random-matched", "rho1 absolute"):
        assert all(d > 0 for d in minus(worse, "oracle")), worse
