"""The weighted loss: targets by head, and the lean path against the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wmtp.weighting import (
    create_critic_delta,
    create_rho1_excess,
    head_cross_entropies,
    head_targets,
    lean_mtp_loss,
    token_cross_entropy,
    weighted_mtp_loss,
)

torch.set_num_threads(1)


def test_targets_of_each_head() -> None:
    ids, weights = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[0.5, 1.0, 1.5, 2.0]])
    mask = torch.tensor([[1, 1, 1, 1]])
    assert [t.tolist() for t in head_targets(ids, weights, mask, 0)] == [[[6, 7, 8, 0]], [[1.0, 1.5, 2.0, 0.0]]]
    assert [t.tolist() for t in head_targets(ids, weights, mask, 1)] == [[[7, 8, 0, 0]], [[1.5, 2.0, 0.0, 0.0]]]
    assert head_targets(ids, weights, mask, 9)[1].sum() == 0
    padded = torch.tensor([[0, 1, 1, 0]])  # neither from padding nor to padding
    assert head_targets(ids, weights, padded, 0)[1].tolist() == [[0.0, 1.5, 0.0, 0.0]]


def test_loss_by_hand() -> None:
    # Vocabulary of two, one head. P(token 1) is 1/2 where logits are equal, 3/4 where they differ by log 3.
    three = torch.log(torch.tensor(3.0)).item()
    logits = torch.tensor([[[0.0, 0.0], [0.0, three], [9.0, 9.0]]])[:, :, None]
    ids, weights, mask = torch.tensor([[0, 1, 1]]), torch.tensor([[1.0, 0.5, 2.0]]), torch.ones(1, 3)
    wanted = (0.5 * torch.log(torch.tensor(2.0)) + 2.0 * -torch.log(torch.tensor(0.75))) / 2
    assert weighted_mtp_loss(logits, ids, weights, mask).item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_lean_equals_plain_gradients_included(heads: int) -> None:
    torch.manual_seed(heads)
    out, norm = nn.Linear(6, 17, bias=False).double(), nn.LayerNorm(6).double()
    states = torch.randn(heads, 2, 7, 6, dtype=torch.float64)
    ids, weights = torch.randint(17, (2, 7)), torch.rand(2, 7, dtype=torch.float64) + 0.5
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    parameters = [*out.parameters(), *norm.parameters()]
    results = []
    for lean in (False, True):
        leaf = states.clone().requires_grad_(True)
        if lean:
            loss = lean_mtp_loss(leaf, lambda s: out(norm(s)), parameters, ids, weights, mask)
        else:
            loss = weighted_mtp_loss([out(norm(s)) for s in leaf], ids, weights, mask)
        gradients = torch.autograd.grad(3.0 * loss, [leaf, *parameters])
        results.append((loss, *gradients))
    for plain, lean_one in zip(*results, strict=True):
        torch.testing.assert_close(plain, lean_one, rtol=1e-5, atol=1e-7)  # cross-entropy itself is float32


def test_lean_leaves_frozen_parameters_alone() -> None:
    out = nn.Linear(4, 9)
    out.bias.requires_grad_(False)
    states = torch.randn(2, 1, 5, 4, requires_grad=True)
    ids, ones = torch.randint(9, (1, 5)), torch.ones(1, 5)
    loss = lean_mtp_loss(states, out, list(out.parameters()), ids, ones, ones)
    loss.backward()
    assert out.weight.grad is not None
    assert out.bias.grad is None
    torch.testing.assert_close(loss, weighted_mtp_loss([out(s) for s in states], ids, ones, ones))


@pytest.mark.parametrize("scorer", ["uniform", "critic-delta-v1", "rho1-excess-v1"])
def test_a_hundred_steps_of_weighted_training(scorer: str) -> None:
    from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

    torch.manual_seed(0)
    config = MtpLlamaConfig(
        vocab_size=48, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, n_future_tokens=3, pad_token_id=None,
    )  # fmt: skip
    model, reference = MtpLlamaForCausalLM(config), MtpLlamaForCausalLM(config).eval()
    ids = torch.randint(48, (4, 24))
    mask = torch.ones(4, 24)
    mask[1, 18:] = 0
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    critic, rho1 = create_critic_delta(None), create_rho1_excess(None)
    losses = []
    for step in range(100):
        logits = model(ids, return_all_heads=True).logits
        weights = mask
        if scorer == "critic-delta-v1":
            weights = critic({"values": torch.sin(torch.arange(96.0) + step).view(4, 24), "mask": mask})
        elif scorer == "rho1-excess-v1":
            with torch.no_grad():
                base, other = (
                    token_cross_entropy(x[:, :-1].contiguous(), ids[:, 1:])
                    for x in (logits[:, :, 0].detach(), reference(ids).logits)
                )
            pad = torch.zeros(4, 1)
            weights = rho1(
                {"base_ce": torch.cat([pad, base], 1), "reference_ce": torch.cat([pad, other], 1), "mask": mask}
            )
        for row, valid in zip(weights, mask.bool(), strict=True):
            assert row[valid].mean().item() == pytest.approx(1, abs=1e-5)
            assert bool(((row[valid] >= 0.05) & (row[valid] <= 3.0)).all())
        loss = weighted_mtp_loss(logits, ids, weights, mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert len(head_cross_entropies(logits, ids, mask)) == 3
