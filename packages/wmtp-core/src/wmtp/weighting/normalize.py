"""Token weights with mean 1 inside their bounds.

Clipping after scaling loses the mean, scaling after clipping loses the bounds, and a float32 softmax can underflow so far
that no scale repairs it. So the scale is solved for: the weights are clip(exp(c + z / T), lo, hi), and c is the one number
that makes their mean 1. In log space and float64; the mean rises with c, from lo to hi, so there is exactly one answer
whenever lo < 1 < hi.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Method = Literal["zscore", "raw"]
SPAN = 600.0  # exponents further apart than this leave float64, and need an origin chosen with care
FURTHEST = 1e100  # max_weight / min_weight; keeps the exponents of what is not at a bound within SPAN
MOST_STEPS, TOLERANCE = 200, 1e-8


def normalize_weights(
    scores: Tensor,
    mask: Tensor,
    *,
    temperature: float = 0.7,
    min_weight: float = 0.05,
    max_weight: float = 3.0,
    method: Method = "zscore",
) -> Tensor:
    """Weights from scores, row by row over valid tokens: z-score → softmax(z / T) → mean 1 within bounds.

    Args:
        scores: [batch, sequence], any float type.
        mask: [batch, sequence], true (non-zero) where a token is valid.
        method: ``zscore`` standardises each row first; ``raw`` takes scores as they are.

    Returns weights [batch, sequence] in the scores' float type (float32 for half types): over each row's valid tokens the
    mean is 1 to 1e-5 and every weight lies in [min_weight, max_weight]; elsewhere 0. A row whose scores do not differ, or
    that has one valid token, gets ones; a row without valid tokens gets zeros. +inf counts as the largest finite score of
    its row, −inf as the smallest; NaN among valid tokens is an error, since it would say that something upstream broke.
    Differentiable with respect to finite scores wherever no weight sits on a bound.

    Raises ValueError: shapes that differ, T ≤ 0, bounds that do not hold 0 < lo ≤ 1 ≤ hi, NaN.
    """
    _check(scores, mask, temperature, min_weight, max_weight, method)
    if scores.numel() == 0:
        return scores.to(_result_type(scores))
    valid = mask.bool()
    finite = bool(torch.isfinite(scores.detach()).all())
    if not finite and bool(torch.isnan(scores.detach()).logical_and(valid).any()):
        rows = torch.isnan(scores.detach()).logical_and(valid).any(-1).nonzero().flatten().tolist()
        raise ValueError(f"scores are NaN at valid tokens of rows {rows[:8]}")
    hidden = None if bool(valid.all()) else ~valid
    count = valid.sum(-1, keepdim=True)
    values = _standardised(scores, valid, hidden, count, finite, method == "zscore")
    weights = _bounded(values, temperature, valid, hidden, count, min_weight, max_weight)
    dtype = _result_type(scores)
    # Rounding to float32 must not step over a bound.
    low, high = (_inward(bound, dtype, up) for bound, up in ((min_weight, True), (max_weight, False)))
    return _masked(weights.to(dtype).clamp(low, high), hidden, 0.0)


def _result_type(scores: Tensor) -> torch.dtype:
    return scores.dtype if scores.dtype in (torch.float32, torch.float64) else torch.float32


def _check(scores: Tensor, mask: Tensor, temperature: float, min_weight: float, max_weight: float, method: str) -> None:
    if scores.dim() != 2 or scores.shape != mask.shape:
        raise ValueError(f"scores and mask must be [batch, sequence] alike: {list(scores.shape)}, {list(mask.shape)}")
    if not scores.is_floating_point():
        raise ValueError(f"scores must be floating point, not {scores.dtype}")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be positive and finite, not {temperature}")
    if not 0 < min_weight <= 1 <= max_weight < math.inf:
        raise ValueError(f"bounds must hold 0 < min_weight ≤ 1 ≤ max_weight: [{min_weight}, {max_weight}]")
    if max_weight / min_weight > FURTHEST:
        raise ValueError(f"bounds are more than {FURTHEST:g} times apart: [{min_weight}, {max_weight}]")
    if method not in ("zscore", "raw"):
        raise ValueError(f"method must be 'zscore' or 'raw', not {method!r}")


def _standardised(
    scores: Tensor, valid: Tensor, hidden: Tensor | None, count: Tensor, finite: bool, standardise: bool
) -> Tensor:
    """Scores in float64, 0 where masked; if asked, less their row's mean and over their row's deviation.

    Raw scores keep their origin: beside a score of 1e30, taking off the mean would wipe out all that the others say.
    """
    values = scores.double()
    if not finite:
        values = _without_infinities(values, valid)
    values = _masked(values, hidden, 0.0)
    if not standardise:
        return values
    largest = torch.linalg.vector_norm(values.detach(), torch.inf, -1, keepdim=True)
    if bool((largest > 1e100).any() | ((largest < 1e-100) & (largest > 0)).any()):
        values = values / torch.where(largest > 0, largest, 1.0)  # or its squares would overflow, or vanish
        largest = values.detach().abs().amax(-1, keepdim=True)
    total = count.clamp(min=1)
    centred = _masked(values - values.sum(-1, keepdim=True) / total, hidden, 0.0)
    variance = (centred * centred).sum(-1, keepdim=True) / total
    flat = variance.detach() <= 1e-24 * largest**2  # nothing but rounding
    deviation = torch.where(flat, 1.0, variance).sqrt()
    return torch.where(flat, 0.0, centred / deviation) if bool(flat.any()) else centred / deviation


def _masked(values: Tensor, hidden: Tensor | None, fill: float) -> Tensor:
    """`fill` where hidden; many batches have no such place (``None``), and are left alone."""
    return values if hidden is None else values.masked_fill(hidden, fill)


def _without_infinities(values: Tensor, valid: Tensor) -> Tensor:
    """±inf as the largest and smallest finite score of the row; where there is none, as 1 and −1: the order is left."""
    finite = valid & torch.isfinite(values)
    largest = torch.where(finite, values, -torch.inf).amax(-1, keepdim=True)
    smallest = torch.where(finite, values, torch.inf).amin(-1, keepdim=True)
    none = ~finite.any(-1, keepdim=True)
    extreme = torch.where(values > 0, torch.where(none, 1.0, largest), torch.where(none, -1.0, smallest))
    return torch.where(torch.isfinite(values), values, extreme)


def _bounded(
    values: Tensor, temperature: float, valid: Tensor, hidden: Tensor | None, count: Tensor, low: float, high: float
) -> Tensor:
    """clip(exp(c + values / T), low, high) with the c that makes each row's mean 1."""
    fixed = values.detach()
    largest = _masked(fixed, hidden, -torch.inf).amax(-1, keepdim=True).masked_fill(count == 0, 0.0)
    smallest = _masked(fixed, hidden, torch.inf).amin(-1, keepdim=True).masked_fill(count == 0, 0.0)
    if bool(((largest - smallest) < SPAN * temperature).all()):
        z = (values - largest) / temperature
        span = torch.exp((largest - smallest) / temperature)
    else:
        reach = math.log(high / low) + 1
        z = ((values - _origin(fixed, temperature, valid, count, low, high)) / temperature).clamp(-reach, reach) - reach
        span = torch.full_like(largest, math.exp(2 * reach))
    ratios = _masked(z.detach().exp(), hidden, 0.0)
    scale = _solve(ratios, count, span, low, high)
    return _implicit(z, valid, scale.log(), low, high) if z.requires_grad else (scale * ratios).clamp(low, high)


def _origin(values: Tensor, temperature: float, valid: Tensor, count: Tensor, low: float, high: float) -> Tensor:
    """A value of each row, [batch, 1]; what lies further from it than T log(high / low) is at a bound in the answer.

    Give the i-th largest value the weight 1: the mean is then at most 1 for the first, at least 1 for the last, and rises
    with i. Where it passes 1, the tokens off the bounds lie around one of two neighbours. Values are only ever subtracted
    from each other, so neighbours keep their difference however far off the rest of their row is.
    """

    def mean(origin: Tensor, offset: float) -> Tensor:
        exponents = ((values - origin) / temperature + offset).clamp(math.log(low) - 1, math.log(high) + 1)
        return exponents.exp().clamp(low, high).masked_fill(~valid, 0.0).sum(-1, keepdim=True) / count.clamp(min=1)

    ordered = values.masked_fill(~valid, -torch.inf).sort(-1, descending=True).values
    last = (count - 1).clamp(min=0)
    first, end = torch.zeros_like(last), last
    for _ in range(values.shape[-1].bit_length()):
        middle = (first + end + 1) // 2
        before = mean(ordered.gather(-1, middle), 0.0) <= 1
        first, end = torch.where(before, middle, first), torch.where(before, end, torch.maximum(middle - 1, first))
    above, below = ordered.gather(-1, first), ordered.gather(-1, torch.minimum(first + 1, last))
    return torch.where(mean(above, math.log(high)) >= 1, above, below).masked_fill(count == 0, 0.0)


def _solve(ratios: Tensor, count: Tensor, span: Tensor, low: float, high: float) -> Tensor:
    """s > 0 with mean(clip(s · ratios, low, high)) = 1 for each row, [batch, 1]; ratios: at most 1, 0 where masked;
    span: at least 1 over the smallest of them.

    The mean is piecewise linear in s and rises, so Newton's method ends once it has found the right piece; bisection
    takes over where a step leaves the bracket.
    """
    total = count.clamp(min=1).double()
    masked = ratios.shape[-1] - count  # their ratio of 0 is clipped to low, and taken off again
    scale = total / ratios.sum(-1, keepdim=True).clamp(min=1e-300)
    left, right = torch.full_like(scale, low), high * span  # every weight at most low, and every weight at least high
    scale = torch.minimum(torch.maximum(scale, left), right)
    raw, clipped = ratios.clone(), ratios.clone()  # fresh ones each step would cost more than the sums
    for _ in range(MOST_STEPS):
        torch.mul(ratios, scale, out=raw)
        torch.clamp(raw, low, high, out=clipped)
        error = (clipped.sum(-1, keepdim=True) - low * masked) / total - 1
        done = (error.abs() < TOLERANCE) | (count == 0) | (right - left <= 1e-15 * right)
        if bool(done.all()):
            break
        slope = torch.mul(ratios, clipped == raw, out=raw).sum(-1, keepdim=True) / total
        left, right = torch.where(error <= 0, scale, left), torch.where(error >= 0, scale, right)
        step = scale - error / slope.clamp(min=1e-300)
        middle = left.sqrt() * right.sqrt()
        good = (slope > 0) & (step > left) & (step < right)
        scale = torch.where(done, scale, torch.where(good, step, middle))
    return scale


def _implicit(z: Tensor, valid: Tensor, offset: Tensor, low: float, high: float) -> Tensor:
    """The weights, with c as a function of z: by the implicit function theorem dc = −Σ w dz / Σ w over free tokens."""
    raw = torch.exp((offset + z.detach()).clamp(math.log(low) - 1, math.log(high) + 1))
    share = raw.masked_fill(~((raw > low) & (raw < high) & valid), 0.0)
    share = share / share.sum(-1, keepdim=True).clamp(min=1e-300)
    c = offset - (share * (z - z.detach())).sum(-1, keepdim=True)
    return torch.exp((c + z).clamp(math.log(low) - 1, math.log(high) + 1)).clamp(low, high)


def _inward(bound: float, dtype: torch.dtype, up: bool) -> float:
    """The nearest number of `dtype` that does not lie outside the bound."""
    value = torch.tensor(bound, dtype=dtype)
    outside = value.double().item() < bound if up else value.double().item() > bound
    if outside:
        value = torch.nextafter(value, torch.tensor(math.inf if up else -math.inf, dtype=dtype))
    return value.item()
