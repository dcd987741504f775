"""The faults that the first trainers of this kind had, each planted into ours: a check that passes on ours fails on each.

Local means, shifted weights, the first row's weight, crossed borders and a softmax over heads are in `test_gradients`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_gradients import Setup, given_scorer, unequal_documents
from tiny_training import Bench, tiny_mtp
from torch import Tensor

import wmtp
from wmtp.weighting import targets
from wmtp_train import loop, models, order, step, weigh
from wmtp_train.folder import TrainingFolder
from wmtp_train.order import key
from wmtp_train.rows import Batch, Rows
from wmtp_train.weigh import Weigher

Patch = pytest.MonkeyPatch


def batch_of(several: bool = False) -> Batch:
    return Rows(unequal_documents(), 24, several=several, prompt_weight=0.0).batch(range(8))


def fails(check: Callable[[], None]) -> bool:
    try:
        check()
    except AssertionError:
        return True
    return False


# The reference's labels were shifted by the collator, and again by the trainer.


def check_reference() -> None:
    model: Any = tiny_mtp().eval()
    batch = batch_of()
    with torch.no_grad():
        found = models.token_ce(model, models.states_of(model, batch, 1)[0], batch)
        logits = model(batch.ids).logits.float()
    wanted = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), batch.ids[:, 1:], reduction="none")
    there = batch.exists[:, 1:]
    assert torch.allclose(found[:, 1:][there], wanted[there], atol=1e-4)


def test_a_reference_whose_labels_are_shifted_twice_is_seen(monkeypatch: Patch) -> None:
    check_reference()
    real = models.token_ce

    def twice(model: Any, states: Tensor, batch: Batch, rows: int = 512) -> Tensor:
        import attrs

        return real(model, states, attrs.evolve(batch, ids=batch.ids.roll(-1, 1)), rows)

    monkeypatch.setattr(models, "token_ce", twice)
    assert fails(check_reference)


# Weights were not detached: the model could lower its loss by moving weight.


def check_constant_weights() -> None:
    setup = Setup(several=False, micro=8)
    scores = torch.randn((8, 24), generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    setup.weigher = Weigher(
        lambda view: scores[:, : view["mask"].shape[1]].exp() * view["mask"], None, prompt_weight=0.0, seed=0
    )
    batch = setup.rows.batch(range(8))
    weights = setup.weigher(batch, {})
    assert not weights.requires_grad
    _, shifted = targets.head_targets(batch.ids, scores[:, : batch.ids.shape[1]], batch.exists, 0)
    assert not shifted.requires_grad


def test_weights_that_carry_gradient_are_seen(monkeypatch: Patch) -> None:
    check_constant_weights()
    monkeypatch.setattr(Tensor, "detach", lambda self: self)
    assert fails(check_constant_weights)


# Arms differed in clipping and in a factor on the loss.


def applied(bench: Bench, algo: str) -> dict[str, Any]:
    """Rate, betas, decay and clipping that a training of that algo has."""
    made: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        real = torch.nn.utils.clip_grad_norm_

        def clip(parameters: Any, limit: float, *args: Any, **kwargs: Any) -> Any:
            made["clip"] = limit
            return real(parameters, limit, *args, **kwargs)

        patch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
        adamw = loop.state.adamw
        patch.setattr(loop.state, "adamw", lambda model, **options: made.update(options) or adamw(model, **options))
        reference = {"reference": bench.recipe["model"]["base_id"]} if algo == "rho1-wmtp" else {}
        bench.renamed(algo).train(train={"algo": algo, "max_steps": 1, **reference})
    return made


def test_algorithms_differ_in_weights_alone(bench: Bench) -> None:
    plain, weighted = applied(bench, "baseline-mtp"), applied(bench, "rho1-wmtp")
    assert plain == weighted
    assert plain["clip"] == 1.0
    steps = [values for name in ("baseline-mtp", "rho1-wmtp") for _, values in bench.values(name)]
    assert [one["weight/mean"] for one in steps] == pytest.approx([1.0, 1.0], abs=1e-5)


def test_there_is_no_constant_factor_on_the_loss(plugins: wmtp.Plugins) -> None:
    with pytest.raises(wmtp.ConfigError, match=r"recipe\.loss: unknown key"):
        wmtp.load_recipe({"model": {"base_id": "m"}, "loss": {"lambda": 0.3}}, plugins=plugins)


# Resuming skipped batches with fresh weights.


def check_resumed(bench: Bench) -> None:
    import shutil

    bench.train(train={"max_steps": 4})
    wanted = bench.digests()[4]
    shutil.rmtree(bench.of().at(4))
    bench.train(train={"max_steps": 4})
    assert bench.digests()[4] == wanted


def test_a_resume_that_forgets_the_weights_is_seen(bench: Bench, monkeypatch: Patch) -> None:
    check_resumed(bench.renamed("t"))
    monkeypatch.setattr(loop.state, "load", lambda checkpoint, into, processes: None)
    other = bench.renamed("t")
    other.folder = bench.folder / "other"
    assert fails(lambda: check_resumed(other))


# Every epoch was shuffled alike.


def check_epochs() -> None:
    seen = [order.rows_of_step(number, rows=12, batch_size=12, seed=1, end=None) for number in range(2)]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(12))
    assert seen[0] != seen[1]


def test_epochs_that_are_shuffled_alike_are_seen(monkeypatch: Patch) -> None:
    check_epochs()
    real = order.epoch_order
    monkeypatch.setattr(order, "epoch_order", lambda rows, seed, epoch: real(rows, seed, 0))
    assert fails(check_epochs)


# The loss of each head could not be logged, and the exception was dropped: the baseline logged nothing.


def check_journal(bench: Bench) -> None:
    bench.train(train={"max_steps": 1})
    ((_, values),) = bench.values()
    wanted = {f"train/{what}_head_{head}" for what in ("ce", "weighted_ce", "top1") for head in range(4)}
    assert wanted <= set(values)
    assert {"train/loss", "train/grad_norm", "train/lr", "weight/mean", "weight/effective_tokens"} <= set(values)


def test_a_baseline_that_logs_no_head_is_seen(bench: Bench, monkeypatch: Patch) -> None:
    check_journal(bench)
    monkeypatch.setattr(step.Sums, "values", lambda self, prefix: {})
    other = bench.renamed("t")
    other.folder = bench.folder / "other"
    assert fails(lambda: check_journal(other))


# The shuffled control moved zeros of prompts into answers; the random one had another mean.


def check_control(control: Any) -> None:
    batch = batch_of()
    weights = Weigher(given_scorer, control, prompt_weight=0.0, seed=1)(batch, {})
    plain = Weigher(given_scorer, None, prompt_weight=0.0, seed=1)(batch, {})
    for row in range(8):
        there = batch.trained[row]
        assert weights[row, there].double().mean().item() == pytest.approx(1.0, abs=1e-5)
        assert not weights[row, ~there].any()
        assert torch.allclose(weights[row, there].sort().values, plain[row, there].sort().values, atol=1e-5)


def test_a_shuffle_over_the_attention_mask_is_seen(plugins: wmtp.Plugins) -> None:
    shuffled = plugins.controls["shuffled"].spec.create(None)
    check_control(shuffled)

    def over_all(weights: Tensor, mask: Tensor, keys: Any) -> Tensor:
        generators = [torch.Generator().manual_seed(k) for k in keys]
        return torch.stack(
            [row[torch.randperm(len(row), generator=g)] for row, g in zip(weights, generators, strict=True)]
        )

    assert fails(lambda: check_control(over_all))


def check_matched(control: Any) -> None:
    batch = batch_of()
    weigher = Weigher(given_scorer, control, prompt_weight=0.0, seed=1)
    torch.manual_seed(2)
    weights = weigher(batch, {})
    assert weights[batch.trained].double().mean().item() == pytest.approx(1.0, abs=1e-5)
    torch.manual_seed(3)
    again = weigher(batch, {})
    assert torch.equal(weights, again), "it draws from a generator that others use"


def test_random_weights_of_another_mean_or_of_the_global_generator_are_seen(
    plugins: wmtp.Plugins, monkeypatch: Patch
) -> None:
    check_matched(plugins.controls["random-matched"].spec.create(None))

    def lognormal(weights: Tensor, mask: Tensor, keys: Any) -> Tensor:
        drawn = torch.distributions.LogNormal(0.1, 0.7).sample(weights.shape).clamp(0.1, 3.0)
        return torch.where(mask, drawn, weights)

    assert fails(lambda: check_matched(lognormal)), "of the global generator"

    def keyed(weights: Tensor, mask: Tensor, keys: Any) -> Tensor:
        generator = torch.Generator().manual_seed(key("all", *keys))
        return torch.where(mask, torch.randn(weights.shape, generator=generator).exp().clamp(0.1, 3.0), weights)

    monkeypatch.setattr(weigh, "_mean_one", lambda weights, mask: weights)
    assert fails(lambda: check_matched(keyed)), "of another mean"


# How often one validated changed training.


def check_validation(bench: Bench) -> None:
    rows = bench.recipe["data"]["train"]
    critic = {"scorer": {"name": "dft-v1"}, "control": "position", "max_steps": 4}
    ends = []
    for name, every in (("never", None), ("often", 1)):
        one = bench.renamed(name)
        one.recipe["data"] = {"train": rows, **({"eval": rows} if every else {})}
        one.train(train={**critic, **({"eval_every": every} if every else {})})
        ends.append((one.digests(name)[4], one.of(name).whole()[-1].state["scorer"]))
    assert ends[0] == ends[1]


def test_a_validation_that_the_scorer_learns_from_is_seen(bench: Bench, monkeypatch: Patch) -> None:
    check_validation(bench)
    real = step.Stepper.validate

    def learning(self: Any, rows: Rows, coefficients: Any, stopped: Any) -> Any:
        found = real(self, rows, coefficients, stopped)
        batch = rows.batch(range(len(rows)))
        sums = step.Sums.none(self._plan.heads, "cpu")
        self._losses(batch, coefficients, self.denominators(rows, list(range(len(rows)))))
        self._learn(sums, batch)
        self.update_scorer(sums)
        return found

    monkeypatch.setattr(step.Stepper, "validate", learning)
    other = bench.renamed("t")
    other.folder = bench.folder / "other"
    assert fails(lambda: check_validation(other))


def test_checkpoints_are_in_the_run_folder_that_the_command_named(bench: Bench) -> None:
    """The original's went to ./checkpoints whatever its configuration said."""
    bench.train(train={"max_steps": 2})
    assert [one.step for one in TrainingFolder(bench.folder / "t").whole()] == [2]
