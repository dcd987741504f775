"""Gradients of a step, however it is cut up: one batch, micro-batches, packed rows; and the faults that must not pass.

Each mutant is a fault that some trainer has had. The same comparison that holds for the trainer must fail for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import tiny_mtp
from torch import Tensor

from wmtp.weighting import normalize_weights, trained_positions, weighted_mtp_loss
from wmtp_train import models
from wmtp_train.processes import Processes
from wmtp_train.rows import Batch, Rows
from wmtp_train.step import Stepper
from wmtp_train.tokens import Document
from wmtp_train.weigh import Weigher

HEADS = 4
TOLERANCE = 1e-6


def unequal_documents() -> list[Document]:
    """Eight documents of unequal length and unequal prompts, with weights of their own, the first of them 0."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for number, (length, prompt) in enumerate([(20, 8), (18, 3), (9, 2), (6, 1), (5, 2), (20, 15), (7, 3), (14, 1)]):
        ids = torch.randint(2, 258, (length,), generator=generator).tolist()
        given = (torch.rand(length, generator=generator) * 2 + 0.2).tolist()
        given[prompt] = 0.0
        made.append(Document(id=str(number), ids=tuple(ids), answer_from=prompt, given=tuple(given)))
    return made


def given_scorer(view: Any) -> Tensor:
    weights: Tensor = view["given"] * view["mask"]
    return weights * view["mask"].sum(-1, keepdim=True) / weights.sum(-1, keepdim=True)


class Setup:
    """What `Stepper` needs of a plan."""

    def __init__(self, *, several: bool, micro: int, scorer: Any = given_scorer, control: Any = None) -> None:
        from wmtp_train.settings import (
            CheckpointConfig,
            DataConfig,
            DataPartConfig,
            OptimConfig,
            Sections,
            SourceConfig,
            TrainConfig,
        )

        part = DataPartConfig(sources=(SourceConfig(dataset="jsonl"),), max_length=24, pack_sequences=several)
        self.sections = Sections(
            train=TrainConfig(batch_size=8, micro_batch_size=micro),
            optim=OptimConfig(),
            data=DataConfig(train=part),
            checkpoint=CheckpointConfig(),
        )
        self.model: Any = tiny_mtp(HEADS).train()
        models.prepare(self.model)
        self.rows = Rows(unequal_documents(), 24, several=several, prompt_weight=0.0)
        self.weigher = Weigher(scorer, control, prompt_weight=0.0, seed=0)
        self.seed, self.heads, self.end = 0, HEADS, len(self.rows)
        self.needs: tuple[str, ...] = ()
        self.measures: dict[str, Any] = {}

    def gradient(self) -> dict[str, Tensor]:
        Stepper(self, Processes()).gradient(0, [1 / HEADS] * HEADS)  # type: ignore[arg-type]
        return {name: p.grad.clone() for name, p in self.model.named_parameters()}


def one_batch() -> dict[str, Tensor]:
    """The plain way: all documents unpacked in one batch, full logits, the loss by its definition."""
    setup = Setup(several=False, micro=8)
    batch = setup.rows.batch(range(8))
    weights = setup.weigher(batch, {})
    logits = setup.model(batch.ids, return_all_heads=True).logits
    weighted_mtp_loss(logits, batch.ids, weights, batch.exists, trained=batch.trained).backward()
    return {name: p.grad.clone() for name, p in setup.model.named_parameters()}


def worst(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Largest relative difference of any tensor."""
    return max(((found[name] - wanted[name]).norm() / wanted[name].norm()).item() for name in wanted)


@pytest.mark.parametrize("several", [False, True], ids=["one a row", "packed"])
@pytest.mark.parametrize("micro", [1, 3, 8])
def test_the_gradient_of_a_step_is_that_of_one_batch(several: bool, micro: int) -> None:
    assert worst(Setup(several=several, micro=micro).gradient(), one_batch()) <= TOLERANCE


def test_weights_of_one_are_no_weights_bit_for_bit() -> None:
    ones = Setup(several=True, micro=3, scorer=lambda view: view["mask"].float()).gradient()
    none = Setup(several=True, micro=3, scorer=None).gradient()
    assert all(torch.equal(ones[name], none[name]) for name in none)


def local_means(patch: pytest.MonkeyPatch) -> None:
    """Each micro-batch divides by its own tokens, and the step is their mean."""
    real = Stepper._losses

    def local(self: Stepper, batch: Batch, coefficients: Any, below: Tensor) -> Any:
        own = torch.stack(
            [
                trained_positions(batch.exists, k, segments=batch.segments, trained=batch.trained).sum()
                for k in range(HEADS)
            ]
        )
        return real(self, batch, coefficients, own * 3)

    patch.setattr(Stepper, "_losses", local)


def weights_shifted(patch: pytest.MonkeyPatch) -> None:
    """Each token gets its neighbour's weight."""
    real = Weigher.__call__
    patch.setattr(Weigher, "__call__", lambda self, batch, found: real(self, batch, found).roll(1, -1))


def first_rows_weight(patch: pytest.MonkeyPatch) -> None:
    """Every row's gradient is multiplied by the first row's weight, as two fused losses did."""
    from wmtp.weighting import lean

    real = lean._block
    patch.setattr(
        lean,
        "_block",
        lambda logits, ids, weight: real(logits, ids, None if weight is None else weight[:1].expand_as(weight)),
    )


def borders_crossed(patch: pytest.MonkeyPatch) -> None:
    """Heads predict across the borders of packed documents."""
    real = Stepper._loss_of

    def crossed(self: Stepper, states: Tensor, batch: Batch, *rest: Any) -> Any:
        import attrs

        return real(self, states, attrs.evolve(batch, segments=torch.zeros_like(batch.segments)), *rest)

    patch.setattr(Stepper, "_loss_of", crossed)


def documents_see_one_another(patch: pytest.MonkeyPatch) -> None:
    """Packed rows are run with plain causal attention."""
    patch.setattr(models, "attention_mask", lambda batch: None)


def softmax_over_heads(patch: pytest.MonkeyPatch) -> None:
    """Weights say which head of a position counts, and sum to 1 there: tokens are never weighed against each other."""
    patch.setattr(Weigher, "__call__", lambda self, batch, found: batch.trained.float())


FAULTS: list[Callable[[pytest.MonkeyPatch], None]] = [
    local_means,
    weights_shifted,
    first_rows_weight,
    borders_crossed,
    documents_see_one_another,
    softmax_over_heads,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.__name__))
def test_the_comparison_fails_for_a_trainer_with_this_fault(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = one_batch()
    fault(monkeypatch)
    assert worst(Setup(several=True, micro=1).gradient(), wanted) > 1e-3


# Weights are constants; a reference scores the token itself; controls move no zeros.


def test_no_gradient_flows_into_what_made_the_weights() -> None:
    setup = Setup(several=False, micro=8)
    scores = torch.randn((8, 24), requires_grad=True)

    def scorer(view: Any) -> Tensor:
        width = view["mask"].shape[1]
        return normalize_weights(scores[: len(view["mask"]), :width], view["mask"])

    setup.weigher = Weigher(scorer, None, prompt_weight=0.0, seed=0)
    setup.gradient()
    assert scores.grad is None


def test_the_reference_scores_each_token_where_it_lies_and_not_the_one_behind() -> None:
    setup = Setup(several=True, micro=8)
    setup.model.eval()
    batch = setup.rows.batch(range(len(setup.rows)))
    with torch.no_grad():
        found = models.token_ce(setup.model, models.states_of(setup.model, batch, 1)[0], batch)
        for row, numbers in enumerate(batch.keys):
            start = 0
            for number in numbers:
                ids = torch.tensor(setup.rows.documents[number].ids)
                logits = setup.model(ids[None]).logits[0]
                wanted = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
                assert torch.allclose(found[row, start + 1 : start + len(ids)], wanted, atol=1e-5)
                assert found[row, start] == 0
                start += len(ids)


@pytest.mark.parametrize("name", ["uniform", "shuffled", "random-matched", "inverted", "position"])
@pytest.mark.parametrize("prompt_weight", [0.0, 0.3])
def test_every_control_has_mean_one_over_what_is_trained(name: str, prompt_weight: float) -> None:
    import wmtp

    control = wmtp.create_plugin_manager().controls[name].spec.create(None)
    rows = Rows(unequal_documents(), 24, several=True, prompt_weight=prompt_weight)
    batch = rows.batch(range(len(rows)))
    weigher = Weigher(given_scorer, control, prompt_weight=prompt_weight, seed=1)
    if weigher.learners[1] is not None:
        weigher.learners[1].update(weigher.moments(batch, {})[1])
    weights = weigher(batch, {})
    assert torch.equal(weights != 0, (weights != 0) & batch.trained)
    for row in range(len(rows)):
        for segment in range(len(batch.keys[row])):
            there = batch.trained[row] & (batch.segments[row] == segment)
            assert weights[row, there].double().mean().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", ["shuffled", "inverted"])
def test_these_controls_keep_each_documents_weights_and_move_no_zero_of_a_prompt(name: str) -> None:
    import wmtp

    control = wmtp.create_plugin_manager().controls[name].spec.create(None)
    rows = Rows(unequal_documents(), 24, several=False, prompt_weight=0.0)
    batch = rows.batch(range(8))
    plain = Weigher(given_scorer, None, prompt_weight=0.0, seed=1)(batch, {})
    moved = Weigher(given_scorer, control, prompt_weight=0.0, seed=1)(batch, {})
    assert not torch.equal(plain, moved)
    for row in range(8):
        there = batch.trained[row]
        assert torch.allclose(plain[row, there].sort().values, moved[row, there].sort().values, atol=1e-5)
        assert not moved[row, ~there].any()


def test_a_control_that_deals_weights_over_prompts_too_would_be_seen() -> None:
    """The fault of permuting over the attention mask: zeros of prompts move into answers."""

    def over_all(weights: Tensor, mask: Tensor, keys: Any) -> Tensor:
        width = weights.shape[1]
        return torch.stack([row[torch.randperm(width, generator=torch.Generator().manual_seed(1))] for row in weights])

    batch = Rows(unequal_documents(), 24, several=False, prompt_weight=0.0).batch(range(8))
    plain = given_scorer({"given": batch.given, "mask": batch.answer})
    moved = over_all(plain, batch.answer, [])
    means = (moved * batch.answer).sum(-1) / batch.answer.sum(-1)
    assert (means - 1).abs().max() > 0.1


def test_controls_do_not_depend_on_how_a_step_is_cut() -> None:
    import wmtp

    control = wmtp.create_plugin_manager().controls["shuffled"].spec.create(None)
    whole = Setup(several=False, micro=8, control=control).gradient()
    assert worst(Setup(several=False, micro=2, control=control).gradient(), whole) <= TOLERANCE


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(2, 14), st.integers(0, 13)), min_size=1, max_size=7),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 1.0, 6.0]),
    prompt_weight=st.sampled_from([0.0, 0.05, 1.0]),
)
@pytest.mark.parametrize("name", ["uniform", "shuffled", "random-matched", "inverted", "position"])
def test_whatever_the_weights_every_control_has_the_same_mean_in_every_document(
    plugins: Any, name: str, lengths: list[tuple[int, int]], seed: int, spread: float, prompt_weight: float
) -> None:
    documents = [
        Document(id=str(n), ids=tuple(range(2, 2 + length)), answer_from=min(start, length - 1))
        for n, (length, start) in enumerate(lengths)
    ]
    rows = Rows(documents, 16, several=True, prompt_weight=prompt_weight)
    batch = rows.batch(range(len(rows)))
    generator = torch.Generator().manual_seed(seed)

    def scorer(view: Any) -> Tensor:
        scores = torch.randn(view["mask"].shape, generator=generator.manual_seed(seed)) * spread
        return normalize_weights(scores, view["mask"])

    weigher = Weigher(scorer, plugins.controls[name].spec.create(None), prompt_weight=prompt_weight, seed=seed)
    if weigher.learners[1] is not None:
        weigher.learners[1].update(weigher.moments(batch, {})[1])
    weights = weigher(batch, {})
    assert not weights[~batch.trained].any()
    for row, numbers in enumerate(batch.keys):
        for segment in range(len(numbers)):
            there = batch.trained[row] & (batch.segments[row] == segment)
            assert weights[row, there].double().mean().item() == pytest.approx(1.0, abs=1e-5)
