"""Weights, targets, documents and denominators meet the right logits; each check is shown to fail on the fault it is for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wmtp.weighting import (
    HeadLosses,
    create_rho1_excess,
    head_targets,
    lean_head_losses,
    lean_mtp_loss,
    next_token_cross_entropy,
    token_weights,
    trained_positions,
    weighted_mtp_loss,
)
from wmtp.weighting import lean as lean_module

torch.set_num_threads(1)
VOCABULARY, HIDDEN = 13, 6


class Setting:
    """States, an output matrix with its norm, packed rows with padding and prompts, unequal weights, the first of them 0."""

    def __init__(self, heads: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.out = nn.Linear(HIDDEN, VOCABULARY, bias=False).double()
        self.norm = nn.LayerNorm(HIDDEN).double()
        self.states = torch.randn(heads, 3, 9, HIDDEN, dtype=torch.float64)
        self.ids = torch.randint(VOCABULARY, (3, 9))
        self.weights = torch.rand(3, 9, dtype=torch.float64) + 0.5
        self.weights[0, 1] = 0.0
        self.mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4, [1] * 8 + [0]]).bool()
        self.segments = torch.tensor([[0] * 4 + [1] * 5, [0] * 9, [0] * 3 + [1] * 3 + [2] * 3])
        self.trained = torch.tensor([[0, 1, 1, 1, 0, 0, 1, 1, 1], [1] * 9, [0, 0, 1, 0, 1, 1, 1, 1, 1]]).bool()
        self.parameters = [*self.out.parameters(), *self.norm.parameters()]

    def project(self, states: Tensor) -> Tensor:
        return self.out(self.norm(states))  # type: ignore[no-any-return]

    def slow(self, weights: Tensor, denominators: Tensor | None = None, shift: int = 0) -> Tensor:
        """The loss as its definition says it, token by token. shift: of the weights, for a mutant."""
        total = self.states.new_zeros(())
        heads = len(self.states)
        for head in range(heads):
            terms, count = [], 0
            for row in range(len(self.ids)):
                for t in range(self.ids.shape[1]):
                    target = t + 1 + head
                    if target >= self.ids.shape[1] or not (self.mask[row, t] and self.mask[row, target]):
                        continue
                    if self.segments[row, t] != self.segments[row, target] or not self.trained[row, target]:
                        continue
                    logits = self.project(self.states[head, row, t][None, None])[0, 0]
                    weight = weights[row, min(target + shift, self.ids.shape[1] - 1)]
                    terms.append(-weight * logits.log_softmax(-1)[self.ids[row, target]])
                    count += 1
            total = total + sum(terms) / (denominators[head] if denominators is not None else count) / heads
        return total

    def lean(self, weights: Tensor, denominators: Tensor | None = None) -> Tensor:
        return lean_mtp_loss(
            self.states, self.project, self.parameters, self.ids, weights, self.mask,
            segments=self.segments, trained=self.trained, denominators=denominators,
        )  # fmt: skip

    def plain(self, weights: Tensor, denominators: Tensor | None = None) -> Tensor:
        return weighted_mtp_loss(
            [self.project(s) for s in self.states], self.ids, weights, self.mask,
            segments=self.segments, trained=self.trained, denominators=denominators,
        )  # fmt: skip

    def gradients(self, loss: Callable[..., Tensor], *arguments: object) -> list[Tensor]:
        self.states = self.states.detach().requires_grad_(True)
        found = loss(*arguments)
        return [found, *torch.autograd.grad(found, [self.states, *self.parameters])]


def worst(one: list[Tensor], other: list[Tensor]) -> float:
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
def test_lean_and_plain_equal_the_definition_gradients_included(heads: int) -> None:
    s = Setting(heads)
    wanted = s.gradients(s.slow, s.weights)
    assert worst(s.gradients(s.lean, s.weights), wanted) < 1e-6
    assert worst(s.gradients(s.plain, s.weights), wanted) < 1e-6


def test_outside_denominators_are_used() -> None:
    s = Setting(2)
    denominators = torch.tensor([40.0, 30.0])
    wanted = s.gradients(s.slow, s.weights, denominators)
    assert worst(s.gradients(s.lean, s.weights, denominators), wanted) < 1e-6
    assert worst(s.gradients(s.plain, s.weights, denominators), wanted) < 1e-6


def test_weights_shifted_by_one_are_seen() -> None:
    s = Setting(2)
    assert worst(s.gradients(s.slow, s.weights, None, 1), s.gradients(s.lean, s.weights)) > 1e-2


def test_every_row_at_the_first_rows_weight_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Setting(2)
    wanted, block = s.gradients(s.slow, s.weights), lean_module._block

    def first_row(logits: Tensor, ids: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        return block(logits, ids, None if weight is None else weight[:1].expand_as(weight))

    monkeypatch.setattr(lean_module, "_block", first_row)
    assert worst(s.gradients(s.lean, s.weights), wanted) > 1e-2


def micro_batches(s: Setting, denominators: Tensor | None) -> list[Tensor]:
    """The gradients of three micro-batches of unequal length, added; without denominators, the mean of local means."""

    def loss() -> Tensor:
        parts = [
            lean_mtp_loss(
                s.states[:, i : i + 1], s.project, s.parameters, s.ids[i : i + 1], s.weights[i : i + 1], s.mask[i : i + 1],
                segments=s.segments[i : i + 1], trained=s.trained[i : i + 1], denominators=denominators,
            )
            for i in range(3)
        ]  # fmt: skip
        return torch.stack(parts).sum() if denominators is not None else torch.stack(parts).mean()

    return s.gradients(loss)


def test_micro_batches_with_global_denominators_equal_one_batch_and_local_means_do_not() -> None:
    s = Setting(3)
    counts = torch.stack([trained_positions(s.mask, k, segments=s.segments, trained=s.trained).sum() for k in range(3)])
    whole = s.gradients(s.lean, s.weights)
    assert worst(micro_batches(s, counts), whole) < 1e-6
    assert worst(micro_batches(s, None), whole) > 1e-2


def test_weights_carry_no_gradient() -> None:
    s = Setting(2)
    source = s.weights.clone().requires_grad_(True)
    for loss in (s.lean(source * 2), s.plain(source * 2)):
        assert torch.autograd.grad(loss, s.parameters, retain_graph=True)
        with pytest.raises(RuntimeError, match="not have been used"):
            torch.autograd.grad(loss, source)


def test_weights_of_one_are_no_weights_bit_for_bit() -> None:
    s = Setting(4)
    ones = s.gradients(s.lean, torch.ones_like(s.weights))
    counted = s.gradients(s.lean, s.mask.double())
    assert all(torch.equal(a, b) for a, b in zip(ones, counted, strict=True))


def test_the_first_answer_token_is_trained_by_every_head() -> None:
    ids, ones = torch.arange(8)[None], torch.ones(1, 8)
    trained = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]]).bool()
    for head in range(4):
        wanted, weight = head_targets(ids, ones, ones, head, trained=trained)
        assert sorted(wanted[weight > 0].tolist()) == [4, 5, 6, 7]


def test_no_head_looks_across_a_border() -> None:
    ids, ones = torch.arange(1, 9)[None], torch.ones(1, 8)
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2]])
    found = [head_targets(ids, ones, ones, head, segments=segments)[0][0].tolist() for head in range(3)]
    assert found == [[2, 3, 0, 5, 6, 7, 0, 0], [3, 0, 0, 6, 7, 0, 0, 0], [0, 0, 0, 7, 0, 0, 0, 0]]


def sums(s: Setting) -> HeadLosses:
    return lean_head_losses(
        s.states, s.project, s.parameters, s.ids, s.weights, s.mask, segments=s.segments, trained=s.trained
    )


def test_head_sums_are_what_a_loop_counts_with_and_without_gradients() -> None:
    s = Setting(3)
    found = sums(s)
    with torch.no_grad():
        again = sums(s)
    for head in range(3):
        there = trained_positions(s.mask, head, segments=s.segments, trained=s.trained)
        ids, weight = head_targets(s.ids, s.weights, s.mask, head, segments=s.segments, trained=s.trained)
        logits = s.project(s.states[head])
        each = -logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        assert found.counts[head] == there.sum()
        assert found.weights[head].item() == pytest.approx(weight.sum().item())
        assert found.weighted[head].item() == pytest.approx((each * weight).sum().item(), rel=1e-6)
        assert found.unweighted[head].item() == pytest.approx(each[there].sum().item(), rel=1e-6)
        assert found.correct[head] == (logits.argmax(-1) == ids)[there].sum()
    assert torch.equal(found.correct, again.correct)
    torch.testing.assert_close(found.loss.detach(), again.loss)
    assert not found.weighted.requires_grad


def test_equal_logits_are_one_guess_not_all_of_them() -> None:
    states, ids = torch.zeros(1, 1, 6, HIDDEN), torch.tensor([[4, 0, 1, 2, 3, 5]])
    out = nn.Linear(HIDDEN, VOCABULARY, bias=False)
    ones = torch.ones(1, 6)
    assert lean_head_losses(states, out, [out.weight], ids, ones, ones).correct.tolist() == [1]  # token 0 comes first


def test_a_batch_that_trains_nothing_gives_zero_and_zero_gradients() -> None:
    s = Setting(2)
    s.trained = torch.zeros_like(s.trained)
    loss, of_states, *_ = [
        s.lean(s.weights),
        *torch.autograd.grad(s.lean(s.weights), [s.states.requires_grad_(True)], allow_unused=True),
    ]
    assert loss.item() == 0
    assert of_states is None or not of_states.any()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_packed_rows_train_what_single_ones_train(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    head = data.draw(st.integers(0, 3))
    total = sum(lengths)
    ids, weights = torch.randint(1, 99, (1, total)), torch.rand(1, total)
    segments = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]
    packed = head_targets(ids, weights, torch.ones(1, total), head, segments=segments)
    parts = [
        head_targets(i, w, torch.ones_like(w), head)
        for i, w in zip(ids.split(lengths, 1), weights.split(lengths, 1), strict=True)
    ]
    for found, wanted in zip(packed, zip(*parts, strict=True), strict=True):
        assert torch.equal(found, torch.cat(wanted, 1))


def sure(ids: Tensor, wrong_at: int | None = None) -> Tensor:
    """Logits of a model that foresees every token, but for one."""
    logits = torch.zeros(1, ids.shape[1], 10)
    for t in range(ids.shape[1] - 1):
        logits[0, t, ids[0, t + 1]] = 0.0 if t + 1 == wrong_at else 12.0
    return logits


def test_scorer_and_loss_take_the_same_targets() -> None:
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    batch = {"base_logits": sure(ids, 5), "reference_logits": sure(ids), "targets": ids, "mask": torch.ones_like(ids)}
    weights = create_rho1_excess(None)(batch)
    assert weights[0].argmax() == 5
    given_ce = {"base_ce": next_token_cross_entropy(sure(ids, 5), ids), "mask": torch.ones_like(ids)}
    given_ce["reference_ce"] = next_token_cross_entropy(sure(ids), ids)
    assert torch.equal(create_rho1_excess(None)(given_ce), weights)
    # What looked right in the program this grew out of: ids shifted by a collator, then once more inside.
    twice = {**batch, "targets": torch.cat([ids[:, 1:], ids[:, :1]], 1)}
    assert create_rho1_excess(None)(twice)[0].argmax() != 5
    # The heaviest target of head k is token 5, seen from 4 − k.
    for head in range(3):
        assert head_targets(ids, weights, torch.ones_like(ids), head)[1][0].argmax() == 4 - head


def test_weights_compare_tokens_and_not_heads() -> None:
    """A softmax over heads, divided by its sum at each position, would leave every token with the same total."""
    ids, mask = torch.randint(9, (1, 12)), torch.ones(1, 12)
    weights = create_rho1_excess(None)(
        {"base_ce": torch.rand(1, 12) * 4, "reference_ce": torch.rand(1, 12), "mask": mask}
    )
    assert weights.std() > 0.1
    by_head = torch.stack([head_targets(ids, weights, mask, k)[1][:, : 12 - 3] for k in range(3)])
    assert by_head.sum(0).std() > 0.1


def test_a_sequence_can_matter_more_than_another() -> None:
    factor = token_weights(torch.tensor([1.0, 3.0]), None, 4)
    assert factor.tolist() == [[1.0] * 4, [3.0] * 4]
    packed = token_weights(torch.tensor([[1.0, 3.0]]), torch.tensor([[0, 0, 1, 1, 1]]), 5)
    assert packed.tolist() == [[1.0, 1.0, 3.0, 3.0, 3.0]]
