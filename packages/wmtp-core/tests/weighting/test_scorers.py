"""The two scorers, against answers worked out by hand and slow loops."""

from __future__ import annotations

import pytest
import torch

import wmtp
from wmtp.weighting import (
    CriticDeltaSettings,
    Rho1Settings,
    ValueHead,
    check_same_tokenizer,
    create_critic_delta,
    create_rho1_excess,
    emphasise,
    excess_scores,
    gae_targets,
    keep_mask,
    spread_reward,
    token_cross_entropy,
    value_deltas,
    value_loss,
)

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])


def test_value_deltas_skip_padding() -> None:
    values = torch.tensor([[2.0, 9.0, 5.0, 7.0]])
    assert value_deltas(values, torch.tensor([[1, 0, 1, 1]])).tolist() == [[2.0, 0.0, 3.0, 2.0]]


def test_rewards_are_spread_as_the_formulas_say() -> None:
    reward = torch.tensor([6.0, 10.0])
    assert spread_reward(reward, MASK, how="uniform").tolist() == [[2, 2, 2, 0], [2.5, 2.5, 2.5, 2.5]]
    assert spread_reward(reward, MASK, how="length").tolist() == [[1, 2, 3, 0], [1, 2, 3, 4]]
    assert spread_reward(reward, MASK, how="gae").tolist() == [[0, 0, 6, 0], [0, 0, 0, 10]]
    attention = torch.tensor([[1.0, 0.0, 2.0, 9.0], [0.0, 0.0, 0.0, 0.0]])
    assert spread_reward(reward, MASK, how="attention", attention=attention).tolist() == [[2, 0, 4, 0], [2.5] * 4]
    with pytest.raises(ValueError, match="attention"):
        spread_reward(reward, MASK, how="attention")


def test_gae_targets_equal_the_sum_they_stand_for() -> None:
    torch.manual_seed(1)
    rewards, values = torch.randn(1, 5), torch.randn(1, 5)
    mask = torch.tensor([[1, 1, 1, 1, 0]])
    gamma, lam = 0.9, 0.8
    v = [*values[0, :4].tolist(), 0.0]
    deltas = [rewards[0, t].item() + gamma * v[t + 1] - v[t] for t in range(4)]
    wanted = [sum((gamma * lam) ** (s - t) * deltas[s] for s in range(t, 4)) + v[t] for t in range(4)]
    found = gae_targets(rewards, values, mask, gamma=gamma, lam=lam)
    assert found[0].tolist() == pytest.approx([*wanted, 0.0], abs=1e-6)


def test_the_value_head_learns_its_targets() -> None:
    torch.manual_seed(0)
    head, states = ValueHead(8), torch.randn(2, 4, 8)
    targets = torch.randn(2, 4)
    optimiser = torch.optim.Adam(head.parameters(), 0.05)
    losses = []
    for _ in range(60):
        loss = value_loss(head(states), targets, MASK)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4


def test_cross_entropy_in_blocks_equals_the_whole() -> None:
    logits, targets = torch.randn(2, 5, 11), torch.randint(11, (2, 5))
    whole = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(2, 5)
    torch.testing.assert_close(token_cross_entropy(logits, targets, rows=3), whole)


def test_excess_and_skipping() -> None:
    base, reference = torch.tensor([[3.0, 1.0, 2.0, 2.0]]), torch.tensor([[1.0, 2.0, 2.0, 9.0]])
    assert excess_scores(base, reference, kind="absolute").tolist() == [[2, 1, 0, 7]]
    assert excess_scores(base, reference).tolist() == [[2, -1, 0, -7]]
    mask = torch.tensor([[1, 1, 1, 1]])
    assert keep_mask(base, mask, 0.5).tolist() == [[True, False, False, True]]
    assert keep_mask(base, torch.tensor([[1, 0, 0, 0]]), 0.9).tolist() == [[True, False, False, False]]


def test_emphasis_lifts_the_top_more() -> None:
    scores, mask = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.ones(1, 4)
    lift = emphasise(scores, mask, top=0.25) - scores
    assert (lift.diff(dim=-1) > 0).all()
    assert (emphasise(scores, mask, top=1.0) == scores).all()


def test_scorers_keep_the_invariant() -> None:
    torch.manual_seed(0)
    values = torch.randn(2, 4)
    batch = {"values": values, "mask": MASK, "base_ce": values.abs(), "reference_ce": torch.rand(2, 4)}
    scorers = (
        create_critic_delta(CriticDeltaSettings(max_weight=2.0)),
        create_rho1_excess(Rho1Settings(top=0.5, skip=0.3)),
        create_critic_delta(None),
    )
    for scorer in scorers:
        weights = scorer(batch)
        for row in weights:
            assert row[row > 0].mean().item() == pytest.approx(1, abs=1e-5)
        assert (weights[MASK == 0] == 0).all()


def test_tokenizers_must_be_the_same() -> None:
    class Words:
        def __init__(self, *words: str) -> None:
            self._words = {w: i for i, w in enumerate(words)}

        def get_vocab(self) -> dict[str, int]:
            return self._words

    check_same_tokenizer(Words("a", "b"), Words("a", "b"))
    with pytest.raises(ValueError, match="they differ in 1"):
        check_same_tokenizer(Words("a", "b"), Words("a", "b", "c"))


def test_both_are_registered_and_made_by_their_specs() -> None:
    plugins = wmtp.create_plugin_manager(entry_points=False)
    batch = {"values": torch.randn(1, 4), "base_ce": torch.rand(1, 4), "reference_ce": torch.rand(1, 4)}
    for name in ("critic-delta-v1", "rho1-excess-v1"):
        scorer = plugins.scorers[name].spec.create(None)
        assert scorer({**batch, "mask": torch.ones(1, 4)}).mean().item() == pytest.approx(1, abs=1e-5)
