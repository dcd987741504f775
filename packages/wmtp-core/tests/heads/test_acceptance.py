"""Closed forms of acceptance against simulation, and what a decoder would count against a decoder that is played out."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmtp.heads.acceptance import acceptance
from wmtp.heads.walk import Walk, depths, lengths, walk
from wmtp.statistics.quantiles import student_quantile
from wmtp.statistics.shares import Share


def _pair(seed: int, vocabulary: int, sharp: float, apart: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(vocabulary, generator=generator, dtype=torch.float64) * sharp
    other = logits + torch.randn(vocabulary, generator=generator, dtype=torch.float64) * apart
    return logits.softmax(-1), other.softmax(-1)


@pytest.mark.parametrize(("sharp", "apart"), [(1.0, 0.3), (1.0, 2.0), (3.0, 1.0)])
def test_every_rule_accepts_as_often_as_when_it_is_played_out(sharp: float, apart: float) -> None:
    p, q = _pair(1, 24, sharp, apart)
    draws = 200_000
    generator = torch.Generator().manual_seed(2)
    noise = -torch.log(-torch.log(torch.rand(draws, 24, generator=generator, dtype=torch.float64).clamp_min(1e-300)))
    target, draft = (p.log() + noise).argmax(-1), (q.log() + noise).argmax(-1)
    drawn = torch.multinomial(q, draws, replacement=True, generator=generator)
    kept = torch.rand(draws, generator=generator, dtype=torch.float64) < (p / q)[drawn]
    played = [(target == q.argmax()).double().mean(), kept.double().mean(), (target == draft).double().mean()]
    found = acceptance(p[None], q[None], torch.zeros(1, dtype=torch.int64)).expected[:, 0]
    for have, want in zip(found.tolist(), played, strict=True):
        assert have == pytest.approx(float(want), abs=4 * 0.5 / draws**0.5)


def test_acceptance_given_the_token_is_that_of_the_draws_that_gave_it() -> None:
    p, q = _pair(3, 6, 1.0, 1.5)
    draws = 400_000
    generator = torch.Generator().manual_seed(4)
    noise = -torch.log(-torch.log(torch.rand(draws, 6, generator=generator, dtype=torch.float64).clamp_min(1e-300)))
    target, draft = (p.log() + noise).argmax(-1), (q.log() + noise).argmax(-1)
    found = acceptance(p.expand(6, 6), q.expand(6, 6), torch.arange(6)).given
    for token in range(6):
        of_token = target == token
        assert float(found[2, token]) == pytest.approx(float((draft == token)[of_token].double().mean()), abs=0.01)
    assert found[1].tolist() == pytest.approx((q / p).clamp(max=1).tolist())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(0.1, 30.0), st.floats(0.0, 30.0))
def test_the_mean_over_the_target_s_tokens_is_the_expectation(seed: int, size: int, sharp: float, apart: float) -> None:
    p, q = _pair(seed, size, sharp, apart)
    found = acceptance(p.expand(size, size), q.expand(size, size), torch.arange(size))
    assert (found.given * p).sum(-1).tolist() == pytest.approx(found.expected[:, 0].tolist(), abs=1e-9)
    argmax, ratio, gumbel = found.expected[:, 0].tolist()
    assert gumbel <= ratio + 1e-9, "no coupling accepts more often than 1 − TV"
    assert gumbel >= ratio / (2 - ratio) - 1e-9, "the bound of Daliri, Musco and Suresh"
    assert argmax <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_the_sorted_sum_is_the_sum_over_pairs(seed: int, size: int) -> None:
    p, q = _pair(seed, size, 2.0, 2.0)
    pairs = sum(1 / float(torch.maximum(p / p[i], q / q[i]).sum()) for i in range(size))
    found = float(acceptance(p[None], q[None], torch.zeros(1, dtype=torch.int64)).expected[2, 0])
    assert found == pytest.approx(pairs, rel=1e-9)


def test_certain_distributions_are_equal_or_not_under_every_rule() -> None:
    p = torch.eye(4)[[0, 0, 2]]
    q = torch.eye(4)[[0, 1, 2]]
    found = acceptance(p, q, torch.tensor([0, 0, 2]))
    assert found.expected.tolist() == found.given.tolist() == [[1, 0, 1]] * 3


def test_a_nucleus_that_the_draft_leaves_out_is_never_accepted() -> None:
    found = acceptance(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.0, 0.25, 0.75]]), torch.tensor([0]))
    assert found.given[:, 0].tolist() == [0, 0, 0]
    assert found.expected[1, 0] == pytest.approx(0.25)
    assert torch.isfinite(found.expected).all()


def _play(accepts: list[list[float]], tokens: int, k: int, dice: random.Random) -> tuple[int, list[int], list[int]]:
    at = steps = 0
    drafted, accepted = [0] * k, [0] * k
    while at < tokens:
        steps += 1
        right = 0
        for d in range(min(k, tokens - at - 1)):
            drafted[d] += 1
            if right == d and dice.random() < accepts[d][at]:
                accepted[d] += 1
                right += 1
        at += right + 1
    return steps, drafted, accepted


@pytest.mark.parametrize("k", [1, 3])
def test_expected_counts_are_those_of_a_decoder_that_is_played_out(k: int) -> None:
    dice = random.Random(5)
    tokens, games = 17, 20_000
    accepts = [[dice.random() for _ in range(tokens - d - 1)] for d in range(k)]
    found = walk(accepts, tokens, k)
    games_played = [_play(accepts, tokens, k, dice) for _ in range(games)]
    assert found.steps == pytest.approx(sum(g[0] for g in games_played) / games, rel=0.01)
    for d in range(k):
        drafted = [g[1][d] for g in games_played]
        accepted = [g[2][d] for g in games_played]
        assert found.drafted[d] == pytest.approx(sum(drafted) / games, rel=0.02)
        assert found.accepted[d] == pytest.approx(sum(accepted) / games, rel=0.03)
        rate = found.accepted[d] / found.drafted[d]
        rest = [a - rate * b for a, b in zip(accepted, drafted, strict=True)]
        mean = sum(rest) / games
        assert found.noise[d] == pytest.approx(sum((r - mean) ** 2 for r in rest) / games, rel=0.05)


def test_certain_heads_make_steps_of_full_length() -> None:
    found = walk([[1.0] * 11, [1.0] * 10], 12, 2)
    assert (found.steps, found.accepted, found.reached, found.noise) == (4.0, (4.0, 4.0), (4.0, 4.0), (0.0, 0.0))
    pooled, mean = lengths([found])
    assert pooled.value == mean.value == 3.0


def test_pooled_and_per_request_lengths_differ_where_requests_do() -> None:
    long = walk([[1.0] * 99], 100, 1)
    short = walk([[0.0] * 9], 10, 1)
    pooled, mean = lengths([long, short])
    assert pooled.value == pytest.approx(109 / 59)
    assert mean.value == pytest.approx(1.5)


def test_conditional_acceptance_is_of_those_whose_predecessors_were_right() -> None:
    one = Walk(10, 20, (10, 10), (10, 5), (5, 4), (0, 0))
    unconditional, conditional = depths([one, one])
    assert [s.value for s in unconditional] == [0.5, 0.4]
    assert [s.value for s in conditional] == [0.5, 0.8]


@pytest.mark.parametrize(
    ("freedom", "known"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (11, 2.201), (30, 2.042), (1000, 1.962)]
)
def test_student_s_quantile_is_the_table_s(freedom: int, known: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(known, rel=0.003)


def test_an_interval_over_problems_covers() -> None:
    dice, covered, rounds = random.Random(6), 0, 600
    for _ in range(rounds):
        pairs = []
        for _ in range(12):
            size, rate = dice.randint(20, 200), min(1.0, max(0.0, dice.gauss(0.6, 0.15)))
            pairs.append((sum(dice.random() < rate for _ in range(size)), float(size)))
        share = Share.of(pairs)
        assert share.low is not None
        assert share.high is not None
        covered += share.low <= 0.6 <= share.high
    assert 0.92 <= covered / rounds <= 0.98


def test_one_problem_has_no_interval_and_none_no_value() -> None:
    assert Share.of([(1, 2)]) == Share(0.5, None, None, 1)
    assert Share.of([(0, 0)]).value is None
