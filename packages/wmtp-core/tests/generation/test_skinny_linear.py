"""Products of a few rows: the same numbers, whatever else is computed beside a row, and only where they are worth it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor, nn

import wmtp.generation.kernels.skinny_linear
from wmtp.generation.kernels.native import Product
from wmtp.generation.kernels.skinny_linear import (
    FEWEST_BANDED,
    MOST_BANDED,
    SkinnyLinear,
    large_layers,
    skinny_products,
)

SHAPES = [(1,), (1, 4), (2, 2), (4,), (3, 3, 3), (8,), (16,), (17,), (MOST_BANDED,), (MOST_BANDED + 1,), (5, 40)]


@pytest.fixture(params=["compiled", "banded"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        request.getfixturevalue("product")
    else:
        monkeypatch.setattr(wmtp.generation.kernels.skinny_linear, "skinny_product", lambda: None)
    return str(request.param)


def read_matrices_once(model: nn.Module) -> None:
    """For good."""
    for layer in large_layers(model):
        layer.__class__ = SkinnyLinear


def large(bias: bool = False, **options: object) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(384, 512, bias=bias, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_product_is_the_same(way: str, bias: bool, shape: tuple[int, ...]) -> None:
    plain, thin = large(bias), nn.Sequential(large(bias))
    read_matrices_once(thin)
    x = torch.randn(*shape, 384)
    with torch.inference_mode():
        assert type(thin[0]) is SkinnyLinear
        torch.testing.assert_close(thin(x), plain(x), atol=2e-5, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_product_of_bfloat16_is_the_exact_one_rounded(product: Product, bias: bool, shape: tuple[int, ...]) -> None:
    """Once, also where a bias is added."""
    plain = large(bias, dtype=torch.bfloat16)
    thin = nn.Sequential(large(bias, dtype=torch.bfloat16))
    read_matrices_once(thin)
    assert type(thin[0]) is SkinnyLinear
    x = torch.randn(*shape, 384).bfloat16()
    with torch.inference_mode():
        exact = x.double() @ plain.weight.double().T + (plain.bias.double() if bias else 0)
        found = thin(x)
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=2**-8)
    assert (
        found == exact.bfloat16()
    ).double().mean() > 0.99  # the rest lies between two of them, to float32's accuracy


def multiplied(product: Product, x: Tensor, weight: Tensor, threads: int = 1) -> Tensor:
    out = x.new_full((len(x), len(weight)), 7.0)
    product.multiply(
        x.data_ptr(),
        weight.data_ptr(),
        None,
        out.data_ptr(),
        len(x),
        *reversed(weight.shape),
        x.element_size(),
        threads,
    )
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [16, 48, 2080])
def test_a_row_does_not_depend_on_its_neighbours(product: Product, dtype: torch.dtype, width: int) -> None:
    """To the last bit: neither on how many they are, nor on the threads."""
    torch.manual_seed(2)
    x, weight = torch.randn(21, width).to(dtype), torch.randn(36, width).to(dtype)
    whole = multiplied(product, x, weight)
    torch.testing.assert_close(whole.double(), x.double() @ weight.double().T, atol=1e-3, rtol=2**-8)
    for rows, threads in itertools.product((1, 2, 3, 4, 5, 7, 8, 15, 16), (1, 2, 3, 16)):
        assert torch.equal(multiplied(product, x[:rows], weight, threads), whole[:rows])
        assert torch.equal(multiplied(product, x[-rows:], weight, threads), whole[-rows:])


def test_sums_are_rounded_to_bfloat16_as_torch_rounds(product: Product) -> None:
    """Ties, what overflows and what is no number among them: one sum of two numbers for each of 64k pairs. What is too small
    for a normal float32 is left out: some processors' products of bfloat16 take it for 0."""
    torch.manual_seed(3)
    bits = torch.randint(-(1 << 15), 1 << 15, (2, 1 << 16), dtype=torch.int16)
    bits[1, : 1 << 15] = bits[0, : 1 << 15] - torch.randint(0, 9 << 7, (1 << 15,), dtype=torch.int16)  # near, for ties
    first, second = bits.view(torch.bfloat16)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 3.3895e38, -3.3895e38], dtype=torch.bfloat16)
    pairs = torch.cat([torch.stack([first, second], dim=1), torch.cartesian_prod(special, special)])
    rows = pairs.new_zeros(-(-len(pairs) // 4) * 4, 16)
    rows[: len(pairs), :2] = pairs
    ones = torch.ones(1, 16, dtype=torch.bfloat16)
    found = multiplied(product, ones, rows)[0, : len(pairs)]
    tiny = torch.finfo(torch.float32).tiny
    wanted = (pairs[:, 0].float() + pairs[:, 1].float()).bfloat16()
    normal = ~torch.stack([*pairs.T, wanted]).abs().lt(tiny).logical_and(torch.stack([*pairs.T, wanted]) != 0).any(0)
    assert normal.sum() > 1 << 15
    found, wanted = found[normal], wanted[normal]
    torch.testing.assert_close(found, wanted, atol=0, rtol=0, equal_nan=True)


def test_it_is_computed_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler: for a few rows by small products, for one or many by the large one."""
    monkeypatch.setattr(wmtp.generation.kernels.skinny_linear, "skinny_product", lambda: None)
    thin, small = nn.Sequential(large()), []
    read_matrices_once(thin)
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *tensors: small.append(0) or bmm(*tensors))
    for rows, count in ((1, 0), (FEWEST_BANDED - 1, 0), (FEWEST_BANDED, 1), (MOST_BANDED, 1), (MOST_BANDED + 1, 0)):
        small.clear()
        with torch.inference_mode():
            thin(torch.randn(rows, 384))
        assert len(small) == count, rows


def test_it_is_compiled_for_a_few_rows_and_never_where_gradients_are_wanted(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(*arguments: Any) -> None:
        calls.append(arguments[4])
        product.multiply(*arguments)

    monkeypatch.setattr(
        wmtp.generation.kernels.skinny_linear, "skinny_product", lambda: attrs.evolve(product, multiply=counted)
    )
    thin = nn.Sequential(large())
    layers = large_layers(thin)
    with torch.inference_mode(), skinny_products(layers):
        for rows in (1, product.most, product.most + 1, 0):
            thin(torch.randn(rows, 384))
        thin(torch.randn(384, 4).T)  # not contiguous
    assert calls == [1, product.most, 4]
    thin.to(torch.float64)  # converted since
    with torch.inference_mode(), skinny_products(layers):
        thin(torch.randn(2, 384, dtype=torch.float64))
    thin.to(torch.float32)
    with skinny_products(layers):
        with torch.no_grad():
            thin(torch.randn(4, 384))
        thin(torch.randn(4, 384)).sum().backward()
    assert calls == [1, product.most, 4]
    assert thin[0].weight.grad is not None


@pytest.mark.parametrize(
    "other",
    [
        large(dtype=torch.float16),
        large(device="meta"),
        nn.Linear(16, 16),
        nn.Linear(2048, 129),
        nn.Linear(1001, 512),
        nn.Conv1d(384, 512, 1),
        type("Own", (nn.Linear,), {})(384, 512),
    ],
    ids=["float16", "another device", "small", "odd", "odd width", "convolution", "a class of its own"],
)
def test_others_are_left_alone(other: nn.Module) -> None:
    model = nn.Sequential(other)
    read_matrices_once(model)
    assert type(model[0]) is not SkinnyLinear


def test_the_layers_are_what_they_were_afterwards() -> None:
    model = nn.Sequential(large(), nn.Linear(16, 16))
    layers = large_layers(model)

    def broken() -> None:
        with skinny_products(layers):
            assert [type(module) is SkinnyLinear for module in model] == [True, False]
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("shape", [(4, 192), (2, 383), (1, 400), (1, 384 * 8), (768,)])
def test_an_input_of_another_width_is_refused_as_ever(way: str, shape: tuple[int, ...]) -> None:
    """C would read and write where nothing is."""
    model = nn.Sequential(large())
    read_matrices_once(model)
    with torch.inference_mode(), pytest.raises(RuntimeError):
        model(torch.randn(*shape))


def test_a_layer_that_was_changed_since_is_computed_as_it_is(way: str) -> None:
    """Resized, pruned, under autocast, with a bias of another type: nothing that the product was not written for."""
    from torch.nn.utils import prune

    x = torch.randn(4, 384)
    model = nn.Sequential(large(True))
    layers = large_layers(model)
    assert layers == [model[0]]

    def is_right(inputs: Tensor = x) -> bool:
        with torch.inference_mode(), skinny_products(layers):
            return torch.allclose(model(inputs), inputs @ model[0].weight.T + model[0].bias, atol=2e-5)

    for outs, width in ((513, 384), (512, 387), (518, 384)):
        model[0].weight = nn.Parameter(torch.randn(outs, width) * 0.05)
        model[0].bias = nn.Parameter(torch.randn(outs))
        assert is_right(torch.randn(4, width))
    model[0].weight, model[0].bias = nn.Parameter(torch.randn(512, 384) * 0.05), nn.Parameter(torch.randn(512))
    prune.l1_unstructured(model[0], "weight", 0.3)
    assert is_right()
    prune.remove(model[0], "weight")
    assert is_right()
    with torch.inference_mode(), skinny_products(layers), torch.autocast("cpu", torch.bfloat16):
        assert model(x).dtype is torch.bfloat16
    model[0].bias = nn.Parameter(torch.randn(512, dtype=torch.float64))
    with torch.inference_mode(), skinny_products(layers), pytest.raises(RuntimeError):
        model(x)


def test_tensors_that_are_none_are_left_to_torch(way: str) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    real = nn.Sequential(large())
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        for model in (nn.Sequential(nn.Linear(384, 512)), real):
            with skinny_products(large_layers(model)):
                assert model(torch.randn(4, 384)).shape == (4, 512)


def test_bfloat16_is_left_alone_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wmtp.generation.kernels.skinny_linear, "skinny_product", lambda: None)
    model = nn.Sequential(large(dtype=torch.bfloat16))
    read_matrices_once(model)
    assert type(model[0]) is not SkinnyLinear


def test_weights_stay_where_they_are_and_can_be_replaced(way: str, tmp_path: Path) -> None:
    model = nn.Sequential(large())
    before = model[0].weight.data_ptr()
    read_matrices_once(model)
    assert model[0].weight.data_ptr() == before
    assert list(model.state_dict()) == ["0.weight"]
    x = torch.randn(4, 384)
    model.load_state_dict({"0.weight": torch.zeros(512, 384)})
    with torch.inference_mode():
        assert not model(x).any()
