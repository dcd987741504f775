"""Products of a few rows: the same numbers, the same model, and only where they are worth it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from wmtp.generation.thin import FEWEST, MOST, ThinLinear, read_matrices_once


def large(bias: bool = False, **options: object) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(384, 512, bias=bias, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1,), (1, 4), (2, 2), (FEWEST,), (3, 3, 3), (MOST,), (MOST + 1,), (5, 40)])
def test_the_product_is_the_same(bias: bool, shape: tuple[int, ...]) -> None:
    plain, thin = large(bias), nn.Sequential(large(bias))
    read_matrices_once(thin)
    x = torch.randn(*shape, 384, dtype=torch.float32)
    with torch.inference_mode():
        assert type(thin[0]) is ThinLinear
        torch.testing.assert_close(thin(x), plain(x), atol=2e-5, rtol=0)


def test_it_is_computed_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a few rows by small products, for one or many by the large one, and always so where gradients are wanted."""
    thin, small = nn.Sequential(large()), []
    read_matrices_once(thin)
    product = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *tensors: small.append(0) or product(*tensors))
    for rows, count in ((1, 0), (FEWEST - 1, 0), (FEWEST, 1), (MOST, 1), (MOST + 1, 0)):
        small.clear()
        with torch.inference_mode():
            thin(torch.randn(rows, 384))
        assert len(small) == count, rows
    thin(torch.randn(FEWEST, 384)).sum().backward()
    assert not small
    assert thin[0].weight.grad is not None


@pytest.mark.parametrize(
    "other",
    [
        large(dtype=torch.bfloat16),
        large(device="meta"),
        nn.Linear(16, 16),
        nn.Linear(2048, 129),
        nn.Conv1d(384, 512, 1),
        type("Own", (nn.Linear,), {})(384, 512),
    ],
    ids=["bfloat16", "another device", "small", "odd", "convolution", "a class of its own"],
)
def test_others_are_left_alone(other: nn.Module) -> None:
    model = nn.Sequential(other)
    read_matrices_once(model)
    assert type(model[0]) is not ThinLinear


def test_weights_stay_where_they_are_and_can_be_replaced(tmp_path: Path) -> None:
    model = nn.Sequential(large())
    before = model[0].weight.data_ptr()
    read_matrices_once(model)
    assert model[0].weight.data_ptr() == before
    assert list(model.state_dict()) == ["0.weight"]
    x = torch.randn(FEWEST, 384)
    model.load_state_dict({"0.weight": torch.zeros(512, 384)})
    with torch.inference_mode():
        assert not model(x).any()
