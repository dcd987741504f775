"""The noise is a pure function of names and places, and its numbers are Gumbel's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wmtp.contracts.engines import Sampling
from wmtp.generation.noise import gumbel, row_key, uniform_bits
from wmtp.generation.sampling import nucleus, sample_tokens

torch.set_num_threads(1)
KEY = row_key(0, "e", "p", 0)
# Fixed before the tests were run: the 0.999 quantile of chi-square with 7 degrees of freedom.
CHI_SQUARE_7 = 24.32


@given(st.integers(0, 2**63 - 1), st.text(max_size=8), st.text(max_size=8), st.integers(0, 10**6), st.integers(0, 9999))
def test_the_same_name_gives_the_same_noise_in_any_company(
    seed: int, evaluator: str, problem: str, index: int, position: int
) -> None:
    key = row_key(seed, evaluator, problem, index)
    alone = gumbel([(key, position)], 50)
    among = gumbel([(KEY, 3), (key, position), (KEY, position)], 50)
    assert torch.equal(alone[0], among[1])
    assert torch.equal(gumbel([(key, position)], 20)[0], alone[0, :20]), (
        "a token's noise depends on the vocabulary's size"
    )
    assert torch.isfinite(alone).all()


def test_names_do_not_run_together() -> None:
    keys = {row_key(1, "a", "bc", 0), row_key(1, "ab", "c", 0), row_key(11, "", "abc", 0), row_key(1, "a", "b", 0)}
    assert len(keys) == 4
    rows = uniform_bits([(KEY, 0), (KEY, 1), (row_key(0, "e", "p", 1), 0)], 1000)
    assert ((rows[0] == rows[1]).sum() + (rows[0] == rows[2]).sum()) < 3


def test_moments_are_gumbels() -> None:
    noise = gumbel([(KEY, i) for i in range(200)], 1000).double().flatten()
    assert noise.mean().item() == pytest.approx(0.5772156649, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)
    by_token = gumbel([(KEY, i) for i in range(2000)], 8).mean(0)
    assert (by_token - 0.5772).abs().max() < 0.15, "one token is favoured over the positions"


def test_bits_are_balanced() -> None:
    bits = uniform_bits([(KEY, i) for i in range(100)], 1000)
    for place in range(32):
        share = ((bits >> place) & 1).double().mean().item()
        assert share == pytest.approx(0.5, abs=0.01), place


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.5, 0.9)])
def test_draws_follow_the_distribution(temperature: float, top_p: float) -> None:
    logits = torch.tensor([2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5])
    count = 20_000
    scaled = logits / temperature
    allowed = nucleus(scaled[None], top_p)[0] if top_p < 1 else torch.ones(8, dtype=torch.bool)
    wanted = torch.softmax(scaled.masked_fill(~allowed, float("-inf")), -1) * count
    places = [(row_key(5, "chi", str(i), 0), i % 7) for i in range(count)]
    tokens = sample_tokens(logits.expand(count, 8), Sampling(temperature=temperature, top_p=top_p), places)
    found = torch.bincount(tokens, minlength=8).double()
    assert (found[~allowed] == 0).all()
    statistic = ((found - wanted) ** 2 / wanted)[allowed].sum().item()
    assert statistic < CHI_SQUARE_7


@given(st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=400), st.floats(0.05, 0.999))
def test_the_nucleus_is_the_smallest_that_suffices(values: list[float], top_p: float) -> None:
    logits = torch.tensor([values])
    kept = nucleus(logits, top_p)[0]
    share = torch.softmax(logits, -1)[0].double()
    assert kept[share.argmax()]
    assert share[kept].sum() >= top_p - 1e-5
    smallest = share[kept].min()
    assert share[kept & (share > smallest)].sum() < top_p + 1e-5, "it could do without its least token"
    assert (share[~kept] <= smallest).all()


def test_greedy_takes_the_largest_whatever_the_noise() -> None:
    logits = torch.randn(5, 30)
    assert torch.equal(
        sample_tokens(logits, Sampling(temperature=0.0), [(KEY, i) for i in range(5)]), logits.argmax(-1)
    )
