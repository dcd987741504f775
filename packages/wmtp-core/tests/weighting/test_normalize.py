"""The invariant of token weights: mean 1, inside the bounds, finite, whatever the scores."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wmtp.weighting import normalize_weights, weight_histogram, weight_statistics

torch.set_num_threads(1)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
extreme = st.sampled_from([0.0, 1.0, -1.0, 1e30, -1e30, 1e-30, math.inf, -math.inf, 5.0, 5.0])
numbers = st.one_of(extreme, st.floats(-50, 50, width=32))


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    rows, length = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    cells = rows * length
    scores = torch.tensor(draw(st.lists(numbers, min_size=cells, max_size=cells)), dtype=torch.float64)
    mask = torch.tensor(draw(st.lists(st.booleans(), min_size=cells, max_size=cells)))
    return scores.view(rows, length).to(draw(st.sampled_from(DTYPES))), mask.view(rows, length)


@settings(max_examples=300, deadline=None)
@given(batches(), st.floats(0.05, 5), st.floats(0.001, 1), st.floats(1, 20), st.sampled_from(["zscore", "raw"]))
def test_mean_one_inside_the_bounds(
    batch: tuple[torch.Tensor, torch.Tensor], temperature: float, low: float, high: float, method: str
) -> None:
    scores, mask = batch
    weights = normalize_weights(scores, mask, temperature=temperature, min_weight=low, max_weight=high, method=method)  # type: ignore[arg-type]
    assert weights.dtype in (torch.float32, torch.float64)
    assert torch.isfinite(weights).all()
    assert (weights[~mask] == 0).all()
    inside = weights[mask].double()
    assert ((inside >= low) & (inside <= high)).all()
    for row, valid in zip(weights, mask, strict=True):
        if valid.any():
            assert row[valid].double().mean().item() == pytest.approx(1, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(batches())
def test_order_is_kept_and_neighbours_do_not_matter(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, mask = batch
    weights = normalize_weights(scores, mask)
    for i, (row, valid, values) in enumerate(zip(weights, mask, scores.double(), strict=True)):
        order = values[valid].argsort()
        ordered = row[valid][order].double()
        assert (ordered.diff() >= -1e-6).all()
        alone = normalize_weights(scores[i : i + 1], mask[i : i + 1])
        torch.testing.assert_close(alone[0], row, rtol=0, atol=1e-6)


def slowly(scores: list[float], temperature: float, low: float, high: float) -> list[float]:
    """The definition, in numpy, by bisection over c: written without a look at the other."""
    values = np.array(scores, dtype=np.float64)
    deviation = values.std()
    z = (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
    left, right = -2000.0, 2000.0
    for _ in range(400):
        c = (left + right) / 2
        with np.errstate(over="ignore"):
            mean = np.clip(np.exp(c + z / temperature), low, high).mean()
        left, right = (c, right) if mean < 1 else (left, c)
    with np.errstate(over="ignore"):
        return list(np.clip(np.exp(left + z / temperature), low, high))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=2, max_size=30), st.floats(0.1, 3))
def test_agrees_with_the_slow_definition(scores: list[float], temperature: float) -> None:
    if 0 < np.ptp(scores) < 1e-6:
        return  # numpy's own deviation is rounding, or underflows
    row = torch.tensor([scores], dtype=torch.float64)
    weights = normalize_weights(row, torch.ones_like(row), temperature=temperature)
    assert weights[0].tolist() == pytest.approx(slowly(scores, temperature, 0.05, 3.0), abs=1e-6)


def exactly(scores: list[float], temperature: float, low: float, high: float) -> list[float]:
    """Raw scores by bisection over c in decimals of 80 digits, where no neighbours of these scores fall together."""
    with decimal.localcontext() as context:
        context.prec = 80
        z = [Decimal(s) / Decimal(temperature) for s in scores]
        lowest, highest = Decimal(low).ln(), Decimal(high).ln()

        def weights(c: Decimal) -> list[float]:
            return [low if c + v <= lowest else high if c + v >= highest else math.exp(float(c + v)) for v in z]

        left, right = lowest - max(z), highest - min(z)
        while right - left > Decimal("1e-12"):
            c = (left + right) / 2
            left, right = (c, right) if sum(weights(c)) < len(z) else (left, c)
        return weights(right)


wide = st.one_of(
    st.sampled_from([1e30, -1e30, 1e16, 1e16 + 2, 1e16 + 4, 1000.0, 999.0, 998.5, -1000.0, 5.0, 4.0, 3.0, 1e-30]),
    st.floats(-1e6, 1e6),
    st.floats(-5, 5),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(wide, min_size=1, max_size=9), st.floats(0.01, 3), st.floats(0.001, 0.9), st.floats(1.1, 30))
@example([1000.0, 990.0, -1000.0], 0.7, 0.05, 3.0)  # the two that matter are far from the row's mean
@example([1e30, 5.0, 4.0, 3.0], 0.7, 0.05, 3.0)  # and here beyond the mean's last digit
@example([1e30, 1e30, 0.0, 0.0], 0.7, 0.5, 1.5)  # every token at a bound, for a wide range of scales
def test_raw_scores_of_any_range_agree_with_exact_arithmetic(
    scores: list[float], temperature: float, low: float, high: float
) -> None:
    row = torch.tensor([scores], dtype=torch.float64)
    weights = normalize_weights(
        row, torch.ones_like(row), temperature=temperature, min_weight=low, max_weight=high, method="raw"
    )
    assert weights[0].tolist() == pytest.approx(exactly(scores, temperature, low, high), abs=1e-6)


@pytest.mark.parametrize("method", ["zscore", "raw"])
@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 1.7e308])
def test_the_ends_of_float64(method: str, scale: float) -> None:
    row = torch.tensor([[scale, scale / 2, -scale, 0.0, 0.0]], dtype=torch.float64)
    weights = normalize_weights(row, torch.ones_like(row), method=method)[0]  # type: ignore[arg-type]
    assert weights.mean().item() == pytest.approx(1, abs=1e-6)
    assert (weights[[0, 1, 3, 2]].diff() <= 0).all()
    if scale > 1 or method == "zscore":
        assert weights[0] > weights[1] > weights[2]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_to_weigh(shape: tuple[int, int]) -> None:
    assert normalize_weights(torch.zeros(shape), torch.zeros(shape)).shape == shape


def test_known_answers() -> None:
    # Two tokens: z = −1, +1. Without bounds in reach, w = 2·softmax(±1/T).
    row = torch.tensor([[1.0, 3.0]])
    weights = normalize_weights(row, torch.ones_like(row), temperature=2.0, min_weight=0.01, max_weight=10)
    e = math.exp(1.0)  # exp(0.5) / exp(−0.5)
    assert weights[0].tolist() == pytest.approx([2 / (1 + e), 2 * e / (1 + e)], abs=1e-6)
    # Four tokens, one far above: it would take 4·softmax ≈ 3.97; held at 3, the others share 1 evenly.
    row = torch.tensor([[0.0, 0.0, 0.0, 100.0]])
    weights = normalize_weights(row, torch.ones_like(row), temperature=0.2)
    assert weights[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 3.0], abs=1e-6)
    # Bounds of exactly 1 leave nothing to choose.
    weights = normalize_weights(torch.randn(2, 5), torch.ones(2, 5), min_weight=1.0, max_weight=1.0)
    assert (weights == 1).all()


@pytest.mark.parametrize("value", [0.0, 7.0, 1e30, math.inf, -math.inf])
def test_equal_scores_and_single_tokens_get_ones(value: float) -> None:
    scores = torch.full((2, 4), value)
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 0]])
    assert (normalize_weights(scores, mask) == mask).all()


def test_a_row_without_tokens_gets_zeros() -> None:
    assert (normalize_weights(torch.randn(1, 3), torch.zeros(1, 3)) == 0).all()


def test_nan_under_the_mask_is_ignored_and_elsewhere_an_error() -> None:
    scores = torch.tensor([[1.0, math.nan], [1.0, 2.0]])
    assert normalize_weights(scores, torch.tensor([[1, 0], [1, 1]]))[0].tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match=r"NaN at valid tokens of rows \[0\]"):
        normalize_weights(scores, torch.ones(2, 2))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"min_weight": 1.5, "max_weight": 3.0}, "bounds must hold"),
        ({"min_weight": 0.1, "max_weight": 0.5}, "bounds must hold"),
        ({"min_weight": 0.0}, "bounds must hold"),
        ({"min_weight": 1e-60, "max_weight": 1e60}, "1e\\+100 times apart"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"method": "softmax"}, "method must be"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        normalize_weights(torch.zeros(1, 2), torch.ones(1, 2), **arguments)  # type: ignore[arg-type]


def test_bad_shapes_and_types() -> None:
    with pytest.raises(ValueError, match="alike"):
        normalize_weights(torch.zeros(1, 2), torch.ones(1, 3))
    with pytest.raises(ValueError, match="floating point"):
        normalize_weights(torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2))


def test_gradients() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0]])
    assert torch.autograd.gradcheck(
        lambda s: normalize_weights(s, mask, temperature=2.0, min_weight=0.001, max_weight=50), (scores,)
    )


def test_gradients_of_a_row_wider_than_any_exponent() -> None:
    scores = torch.tensor([[900.0, 899.5, -900.0, 898.0], [1.0, 0.5, 2.0, -3000.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda s: normalize_weights(s, torch.ones(2, 4), temperature=2.0, min_weight=0.01, max_weight=50, method="raw"),
        (scores.requires_grad_(),),
    )


def test_statistics_and_histogram() -> None:
    weights = torch.tensor([[0.05, 1.0, 1.95], [1.0, 1.0, 0.0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    found = weight_statistics(weights, mask, min_weight=0.05, max_weight=3.0)
    assert (found.tokens, found.at_min, found.at_max) == (5, pytest.approx(0.2), 0.0)
    assert found.mean == pytest.approx(1.0)
    assert (found.min, found.max) == (pytest.approx(0.05), pytest.approx(1.95))
    share = [0.05 / 3, 1 / 3, 1.95 / 3]
    entropy = -sum(s * math.log(s) for s in share) / math.log(3)
    assert found.entropy == pytest.approx((entropy + 1) / 2)
    edges, counts = weight_histogram(weights, mask, bins=3, low=0.0, high=3.0)
    assert edges == [0.0, 1.0, 2.0, 3.0]
    assert counts == [1, 4, 0]
    with pytest.raises(ValueError, match="no token"):
        weight_statistics(weights, torch.zeros(2, 3), min_weight=0.05, max_weight=3.0)
