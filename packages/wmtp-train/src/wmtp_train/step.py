"""One optimiser step: micro-batches, global denominators, gradients, and what each head's part in the loss was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
import torch.distributed as dist
from torch import Tensor

from wmtp.weighting import HeadLosses, lean_head_losses
from wmtp_train import models, order
from wmtp_train.plan import Plan
from wmtp_train.processes import Processes
from wmtp_train.rows import Batch, Rows


@attrs.define(eq=False)
class Sums:
    """What adds up over micro-batches and processes: of heads [heads], and of weights (count, Σ w, Σ w², −min, max)."""

    heads: Tensor
    weights: Tensor
    tokens: int = 0
    moments: list[list[Tensor]] = attrs.field(factory=lambda: [[], []])

    @classmethod
    def none(cls, heads: int, device: str) -> Sums:
        """Of nothing."""
        return cls(
            heads=torch.zeros((4, heads), dtype=torch.float64, device=device),
            weights=torch.tensor([0.0, 0.0, 0.0, -torch.inf, -torch.inf], dtype=torch.float64, device=device),
        )

    def add(self, losses: HeadLosses, weights: Tensor, trained: Tensor) -> None:
        """Takes in a micro-batch. Rows of `heads`: weighted CE, unweighted CE, positions, right first choices."""
        for row, values in enumerate((losses.weighted, losses.unweighted, losses.counts, losses.correct)):
            self.heads[row, : len(values)] += values.detach().double()
        found = weights[trained].double()
        if len(found):
            extremes = torch.stack([-found.min(), found.max()])
            self.weights[:3] += torch.stack([torch.ones_like(found).sum(), found.sum(), (found**2).sum()])
            self.weights[3:] = torch.maximum(self.weights[3:], extremes)

    def gathered(self, processes: Processes) -> Sums:
        """The same over all processes; a collective."""
        processes.sum(self.heads)
        if processes.world > 1:
            counts = processes.sum(self.weights[:3].clone())
            extremes = self.weights[3:].clone()
            dist.all_reduce(extremes, dist.ReduceOp.MAX)
            self.weights = torch.cat([counts, extremes])
        return self

    def values(self, prefix: str) -> dict[str, float]:
        """What the journal holds of them."""
        weighted, unweighted, counts, correct = (row.tolist() for row in self.heads)
        found: dict[str, float] = {}
        for head, count in enumerate(counts):
            if count:
                found[f"{prefix}/ce_head_{head}"] = unweighted[head] / count
                found[f"{prefix}/weighted_ce_head_{head}"] = weighted[head] / count
                found[f"{prefix}/top1_head_{head}"] = correct[head] / count
        return found

    def weight_values(self) -> dict[str, float]:
        """Of the weights of all trained tokens. effective_tokens: (Σ w)² / Σ w²."""
        count, total, squares, low, high = self.weights.tolist()
        if not count:
            return {}
        mean = total / count
        return {
            "weight/mean": mean,
            "weight/std": max(squares / count - mean**2, 0.0) ** 0.5,
            "weight/min": -low,
            "weight/max": high,
            "weight/effective_tokens": total**2 / squares if squares else 0.0,
            "train/trained_tokens": count,
        }


class NotFinite(Exception):  # noqa: N818  (not an error of its own: the loop says what becomes of it)
    """A loss, or a gradient, is not a number. rows: of this process's micro-batch, or of the whole step."""

    def __init__(self, rows: Sequence[int], what: str = "loss") -> None:
        super().__init__(f"the {what} is not finite")
        self.rows, self.what = list(rows), what


class Stepper:
    """Computes the gradient of one step, whatever it is cut into."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self._plan, self._processes = plan, processes
        self._counts: dict[tuple[int, int], list[int]] = {}

    def denominators(self, rows: Rows, chosen: Sequence[int]) -> Tensor:
        """Trained positions of each head over all rows of a step, wherever they are computed."""
        heads = self._plan.heads
        for row in chosen:
            if (id(rows), row) not in self._counts:
                self._counts[id(rows), row] = rows.counts(row, heads)
        return torch.tensor([self._counts[id(rows), row] for row in chosen]).sum(0)

    def rows_of(self, step: int) -> list[int]:
        """The rows of a step, over all processes."""
        plan = self._plan
        size = plan.sections.train.batch_size
        return order.rows_of_step(step, rows=len(plan.rows), batch_size=size, seed=plan.seed, end=plan.end)

    def gradient(self, step: int, coefficients: Sequence[float]) -> Sums:
        """Adds the step's gradient to the model's parameters.

        Returns:
            This process's sums.

        Raises:
            NotFinite: On every process, where the loss of any is not finite; what gradients hold then is of no use.
        """
        plan, processes = self._plan, self._processes
        train = plan.sections.train
        rows = self.rows_of(step)
        active = max(head for head, value in enumerate(coefficients) if value > 0) + 1
        below = self.denominators(plan.rows, rows)[:active]
        sums = Sums.none(plan.heads, processes.device)
        parts = order.micro_batches(rows, size=train.micro_batch_size, rank=processes.rank, world=processes.world)
        for number, part in enumerate(parts):
            torch.manual_seed(order.key("dropout", plan.seed, step, number, processes.rank))
            batch = plan.rows.batch(part, processes.device)
            if processes.world > 1:
                plan.model.set_requires_gradient_sync(number == len(parts) - 1)
            losses, weights = self._losses(batch, coefficients[:active], below)
            if processes.agree(not bool(torch.isfinite(losses.loss))):
                if processes.world > 1 and number > 0:
                    # FSDP holds the gradient of the micro-batches before this one where no `zero_grad` reaches: hand it over.
                    plan.model.set_requires_gradient_sync(True)
                    torch.autograd.backward(losses.loss)
                raise NotFinite(part)
            # Sharded gradients are means over processes; the denominators are of all of them, so the sum is wanted.
            torch.autograd.backward(losses.loss * processes.world)
            sums.add(losses, weights, batch.trained)
            sums.tokens += int(batch.exists.sum()) if part else 0
            self._learn(sums, batch)
        return sums

    def weights(self, batch: Batch) -> Tensor:
        """The weights that a micro-batch would be trained with, [rows, width]."""
        return self._losses(batch, [1.0], self.denominators_of(batch))[1]

    def denominators_of(self, batch: Batch) -> Tensor:
        """Trained tokens of the micro-batch alone."""
        return batch.trained.sum()[None]

    def _losses(self, batch: Batch, coefficients: Sequence[float], below: Tensor) -> tuple[HeadLosses, Tensor]:
        plan = self._plan
        found = {name: measure(batch) for name, measure in plan.measures.items()}
        states = models.states_of(plan.model, batch, len(coefficients))
        if "base_ce" in plan.needs:
            found["base_ce"] = models.token_ce(plan.model, states[0], batch)
        self._found = found
        weights = plan.weigher(batch, found)
        return self._loss_of(states, batch, weights, coefficients, below), weights

    def _loss_of(
        self, states: Tensor, batch: Batch, weights: Tensor, coefficients: Sequence[float], below: Tensor
    ) -> HeadLosses:
        model = self._plan.model
        return lean_head_losses(
            states,
            model.project,
            model.output_parameters(),
            batch.ids,
            weights,
            batch.exists,
            segments=batch.segments,
            trained=batch.trained,
            coefficients=torch.tensor(coefficients, device=states.device),
            denominators=below.to(states.device),
        )

    def _learn(self, sums: Sums, batch: Batch) -> None:
        if any(one is not None for one in self._plan.weigher.learners):
            for known, found in zip(sums.moments, self._plan.weigher.moments(batch, self._found), strict=True):
                if found is not None:
                    known.append(found.double().cpu())

    def update_scorer(self, sums: Sums) -> None:
        """Hands scorer and control what the whole step has seen; a collective where there is one that learns."""
        for learner, mine in zip(self._plan.weigher.learners, sums.moments, strict=True):
            if learner is None:
                continue
            every: list[Any] = [mine]
            if self._processes.world > 1:
                every = [None] * self._processes.world
                dist.all_gather_object(every, mine)
            flat = [one for of in every for one in of]
            if flat:
                learner.update(torch.stack(flat).sum(0))

    def validate(self, rows: Rows, coefficients: Sequence[float], stopped: Any) -> Sums | None:
        """Each head's losses over all validation rows, every weight 1. Nothing that learns sees them.

        stopped: () → whether to give up, asked between micro-batches; ``None`` is returned then.
        """
        plan, processes = self._plan, self._processes
        every = list(range(len(rows)))
        below, sums = self.denominators(rows, every), Sums.none(plan.heads, processes.device)
        plan.model.eval()
        try:
            with torch.no_grad():
                size = plan.sections.train.micro_batch_size
                for part in order.micro_batches(every, size=size, rank=processes.rank, world=processes.world):
                    if processes.agree(stopped()):
                        return None
                    batch = rows.batch(part, processes.device)
                    states = models.states_of(plan.model, batch, plan.heads)
                    ones = batch.trained.float()
                    sums.add(self._loss_of(states, batch, ones, coefficients, below), ones, batch.trained)
        finally:
            plan.model.train()
        return sums.gathered(processes)
