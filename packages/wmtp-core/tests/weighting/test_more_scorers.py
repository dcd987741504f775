"""given-v1, dft-v1 and taw-gae-v1: by hand, by a loop, and what must not change them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import wmtp
from wmtp.weighting import (
    GivenSettings,
    TawGaeSettings,
    create_critic_delta,
    create_dft,
    create_given,
    create_rho1_excess,
    create_taw_gae,
    value_advantages,
)

torch.set_num_threads(1)
MASK = torch.tensor([[0, 1, 1, 1, 1, 0]]).bool()


def test_given_weights_keep_their_ratios_and_zeros_stay() -> None:
    given = torch.tensor([[9.0, 1.0, 2.0, 0.0, 5.0, 9.0]])
    weights = create_given(None)({"given": given, "mask": MASK})
    assert weights.tolist()[0] == pytest.approx([0, 0.375, 0.75, 0, 1.875, 0], abs=1e-5)
    assert create_given(GivenSettings(max_weight=1.0))({"given": given, "mask": MASK})[0].tolist() == [0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_given_weights_that_are_none_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        create_given(None)({"given": torch.tensor([[1.0, wrong, 1.0, 1.0, 1.0, 1.0]]), "mask": MASK})


def test_dft_weights_are_proportional_to_probability() -> None:
    probability = torch.tensor([[0.5, 0.2, 0.4, 0.3, 0.1, 0.9]])
    weights = create_dft(None)({"base_ce": -probability.log(), "mask": MASK})
    assert weights[0, 1:5].tolist() == pytest.approx([0.8, 1.6, 1.2, 0.4], abs=1e-5)


def test_advantages_equal_the_loop() -> None:
    torch.manual_seed(0)
    values, gamma, lam = torch.randn(1, 6), 0.9, 0.8
    deltas = [(gamma * values[0, t] - values[0, t - 1]).item() for t in range(1, 5)]
    wanted = [sum((gamma * lam) ** (s - t) * deltas[s] for s in range(t, 4)) for t in range(4)]
    found = value_advantages(values, MASK, gamma=gamma, lam=lam)
    assert found[0].tolist() == pytest.approx([0, *wanted, 0], abs=1e-6)
    first = value_advantages(values, torch.ones(1, 6), gamma=1.0, lam=0.0)
    assert first[0, 0] == 0  # nothing stands before it
    padded = value_advantages(values, MASK, gamma=1.0, lam=0.0, exists=MASK)
    assert padded[0, 1] == 0


def test_scoring_changes_no_state_and_updates_do_not_depend_on_the_cut() -> None:
    torch.manual_seed(0)
    batches = [{"values": 5 * torch.randn(2, 8), "mask": torch.rand(2, 8) > 0.3} for _ in range(4)]
    whole, cut = create_taw_gae(None), create_taw_gae(None)
    both = {key: torch.cat([b[key] for b in batches]) for key in ("values", "mask")}
    before = whole(batches[0])
    for _ in range(5):  # validation
        assert torch.equal(whole(batches[0]), before)
    whole.update(whole.moments(both))
    cut.update(torch.stack([cut.moments(b) for b in batches]).sum(0))
    assert whole.state_dict() == pytest.approx(cut.state_dict())
    assert not torch.equal(whole(batches[0]), before)
    again = create_taw_gae(None)
    again.load_state_dict(whole.state_dict())
    assert torch.equal(again(batches[0]), whole(batches[0]))


def test_weights_are_constants_whoever_made_the_scores() -> None:
    values = torch.randn(1, 6, requires_grad=True)
    costs = torch.rand(1, 6, requires_grad=True)
    batch = {"values": values, "base_ce": costs, "reference_ce": costs * 2, "given": costs, "mask": MASK}
    for create in (create_taw_gae, create_critic_delta, create_rho1_excess, create_dft, create_given):
        assert not create(None)(batch).requires_grad, create.__name__


def test_all_registered_scorers_say_what_they_need_and_keep_mean_one() -> None:
    plugins = wmtp.create_plugin_manager(entry_points=False)
    torch.manual_seed(0)
    batch = {name: torch.rand(3, 12) for name in ("values", "base_ce", "reference_ce", "given")}
    mask = torch.rand(3, 12) > 0.2
    for name, registered in plugins.scorers.items():
        spec = registered.spec
        scorer = spec.create(spec.settings() if spec.settings else None)
        weights = scorer({**{need: batch[need] for need in spec.needs}, "mask": mask})
        for row, valid in zip(weights, mask, strict=True):
            assert row[valid].mean().item() == pytest.approx(1, abs=1e-5), name
    assert set(plugins.scorers) >= {"given-v1", "dft-v1", "taw-gae-v1", "rho1-excess-v1", "critic-delta-v1"}


def test_settings_need_no_torch() -> None:
    code = "import sys, wmtp; wmtp.create_plugin_manager(entry_points=False).scorers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(ValueError, match="momentum"):
        TawGaeSettings(momentum=1.0)
