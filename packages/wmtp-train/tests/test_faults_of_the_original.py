"""The faults that the first trainers of this kind had, each planted into ours: a check that passes on ours fails on each.

Which fault is found where; "here" is this module, and each has its mutant unless it says otherwise:

- a softmax over heads, local means of micro-batches, weights shifted by one, the first row's weight for all, packed documents
  that see one another or are predicted across their border: `test_gradients`, one comparison for all of them
- reference labels shifted twice; weights that carry gradient; arms that differ in clipping; a factor on the loss (refused by
  name); a resume that forgets the weights; epochs shuffled alike; a baseline that logs no head; the shuffled control over the
  attention mask; a random control of another mean or of the global generator; validation that the scorer learns from: here
- a gradient clipped tensor by tensor, by value, too late or not at all: here; norms of shards and means of processes:
  `test_processes` (slow)
- a checkpoint that is marked before it is written, or written over an older one; checkpoints that are elsewhere: here, and
  kills at any moment in `test_kills`
- collectives that rank 0 alone calls: every test of `test_processes` would hang (no mutant)
- a difference judged on 20 problems: scores have their interval, `test_run` (no mutant)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_gradients import Setup, given_scorer, unequal_documents
from tiny_training import Bench, tiny_mtp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

import wmtp
from wmtp.weighting import targets
from wmtp_train import folder, loop, models, order, step, weigh
from wmtp_train.folder import Checkpoint, TrainingFolder
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


def check_arms(bench: Bench) -> None:
    plain, weighted = applied(bench, "baseline-mtp"), applied(bench, "rho1-wmtp")
    assert plain == weighted
    assert plain["clip"] == 1.0
    steps = [values for name in ("baseline-mtp", "rho1-wmtp") for _, values in bench.values(name)]
    assert [one["weight/mean"] for one in steps] == pytest.approx([1.0, 1.0], abs=1e-5)


def test_arms_that_differ_in_more_than_weights_are_seen(bench: Bench, monkeypatch: Patch) -> None:
    check_arms(bench)
    real = loop.Loop._clip

    def of_baselines(self: Any) -> float:
        return real(self) if self._plan.sections.train.algo == "baseline-mtp" else 0.0

    monkeypatch.setattr(loop.Loop, "_clip", of_baselines)
    other = bench.renamed("t")
    other.folder = bench.folder / "other"
    with pytest.raises((AssertionError, KeyError)):
        check_arms(other)


# The gradient's norm is that of all tensors together, and the gradient is scaled before the weights move.

LIMIT = 0.01


def stepped(bench: Bench, name: str, limit: float | None) -> tuple[dict[str, Tensor], float]:
    """The gradient that moved the weights in the first step, and the norm that the journal has."""
    moved: dict[str, Tensor] = {}
    real = loop.state.adamw

    def adamw(model: Any, **options: Any) -> Any:
        optimiser = real(model, **options)

        def keep(*_: Any) -> None:
            moved.update({name: p.grad.clone() for name, p in model.named_parameters()})

        optimiser.register_step_pre_hook(keep)
        return optimiser

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.state, "adamw", adamw)
        bench.renamed(name).train(train={"max_steps": 1}, optim={"grad_clip": limit})
    return moved, bench.values(name)[0][1]["train/grad_norm"]


def check_clipping(bench: Bench) -> None:
    whole, norm = stepped(bench, "whole", None)
    clipped, said = stepped(bench, "clipped", LIMIT)
    assert norm == said == pytest.approx(float(torch.cat([one.flatten() for one in whole.values()]).norm()), rel=1e-5)
    assert norm > 2 * LIMIT
    assert all(torch.allclose(clipped[name], whole[name] * (LIMIT / norm), rtol=1e-3) for name in whole)


def tensor_by_tensor(self: Any) -> float:
    limit = self._plan.sections.optim.grad_clip or float("inf")
    return (
        sum(
            float(torch.nn.utils.clip_grad_norm_([p], limit)) ** 2
            for p in self._plan.model.parameters()
            if p.grad is not None
        )
        ** 0.5
    )


def by_value(self: Any) -> float:
    parameters = list(self._plan.model.parameters())
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    if limit := self._plan.sections.optim.grad_clip:
        torch.nn.utils.clip_grad_value_(parameters, limit)
    return norm


def not_at_all(self: Any) -> float:
    return float(torch.nn.utils.get_total_norm([p.grad for p in self._plan.model.parameters() if p.grad is not None]))


def norm_of_clipped(self: Any) -> float:
    real_clip(self)
    return not_at_all(self)


real_clip = loop.Loop._clip


@pytest.mark.parametrize("fault", [tensor_by_tensor, by_value, not_at_all, norm_of_clipped])
def test_a_gradient_that_is_clipped_wrongly_is_seen(bench: Bench, monkeypatch: Patch, fault: Any) -> None:
    monkeypatch.setattr(loop.Loop, "_clip", fault)
    assert fails(lambda: check_clipping(bench))


def test_a_gradient_is_clipped_by_the_norm_of_all_of_it(bench: Bench) -> None:
    check_clipping(bench)


# A checkpoint was written where the last one was, or looked whole before it was.


class Death(BaseException):
    """As a kill would end the process."""


def check_place(bench: Bench) -> None:
    """Killed when the data of step 4 are written and its index is not, the same command ends as if it had not been."""
    whole = bench.renamed("unbroken")
    whole.train(train={"max_steps": 4})
    real = loop.state.save

    def dying(tensors: Any, *, checkpoint_id: str, **options: Any) -> None:
        path = Path(checkpoint_id)
        real(tensors, checkpoint_id=str(path.with_name("elsewhere")), **options)
        for one in path.with_name("elsewhere").glob("*.distcp"):
            shutil.copy(one, path)
        raise Death

    with pytest.MonkeyPatch.context() as patch:
        saves = iter([real, dying])
        patch.setattr(loop.state, "save", lambda tensors, **options: next(saves)(tensors, **options))
        with pytest.raises(Death):
            bench.train(train={"max_steps": 4})
    try:
        bench.train(train={"max_steps": 4})
        found = bench.digests()
    except (wmtp.WmtpError, CheckpointException) as error:
        raise AssertionError("it cannot be read") from error
    assert found[4] == whole.digests("unbroken")[4]


def saving(step_of_place: int | None, *, marked_first: bool) -> Callable[..., Checkpoint]:
    """A way to save without a folder that nobody reads. step_of_place: of the one folder that there is; or each has its own."""

    def begin(self: Any, step: int, about: dict[str, Any], tensors: Any) -> Checkpoint:
        place = self._folder.at(step if step_of_place is None else step_of_place)
        place.mkdir(parents=True, exist_ok=True)
        made = Checkpoint(step=step, path=place, state={**about, "step": step, "files": {}})
        for marks in (marked_first, not marked_first):
            if marks:
                (place / "state.json").write_text(json.dumps(made.state))
                (place / "COMPLETE").touch()
            else:
                loop.state.save(tensors, checkpoint_id=str(place), process_group=None, no_dist=True)
        return made

    return begin


@pytest.mark.parametrize(
    "begin",
    [None, saving(None, marked_first=True), saving(0, marked_first=False)],
    ids=["ours", "marked first", "over an older one"],
)
def test_a_checkpoint_that_is_marked_first_or_written_over_an_older_one_is_seen(
    bench: Bench, monkeypatch: Patch, begin: Any
) -> None:
    if begin is not None:
        monkeypatch.setattr(loop.state.Saver, "begin", begin)
        monkeypatch.setattr(folder, "_state_of", lambda path: json.loads((path / "state.json").read_text()))
    assert fails(lambda: check_place(bench)) == (begin is not None)


def test_there_is_no_constant_factor_on_the_loss(plugins: wmtp.Plugins) -> None:
    with pytest.raises(wmtp.ConfigError, match=r"recipe\.loss: unknown key"):
        wmtp.load_recipe({"model": {"base_id": "m"}, "loss": {"lambda": 0.3}}, plugins=plugins)


# Resuming skipped batches with fresh weights.


def check_resumed(bench: Bench) -> None:
    changes = {"train": {"max_steps": 2}, "checkpoint": {"every": 1}}
    bench.train(**changes)
    wanted = bench.digests()[2]
    shutil.rmtree(bench.of().at(2))
    bench.train(**changes)
    assert bench.digests()[2] == wanted


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
    critic = {"scorer": {"name": "dft-v1"}, "control": "position", "max_steps": 2}
    ends = []
    for name, every in (("never", None), ("often", 1)):
        one = bench.renamed(name)
        one.recipe["data"] = {"train": rows, **({"eval": rows} if every else {})}
        one.train(train={**critic, **({"eval_every": every} if every else {})})
        ends.append((one.digests(name)[2], one.of(name).whole()[-1].state["scorer"]))
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
