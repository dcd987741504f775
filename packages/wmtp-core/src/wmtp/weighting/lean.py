"""The weighted loss without its logits: what has the size of the vocabulary exists for one block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from wmtp.weighting.loss import head_scales
from wmtp.weighting.targets import all_targets

Project = Callable[[Tensor], Tensor]
BLOCK_LOGITS = {"cpu": 1 << 22}
MORE_LOGITS = 1 << 26
"""Logits held at a time, by kind of device; more where it is not listed."""
FEWEST_ROWS = 32


@attrs.frozen(eq=False)
class HeadLosses:
    """A loss, and what each head's part in it was. Everything but `loss` is [heads] and has no gradient.

    Sums add up over micro-batches and ranks; means do not, so there are none here.

    Attributes:
        loss: The scalar to call ``backward`` on.
        weighted: Σ w · CE over trained positions, in nats.
        unweighted: Σ CE over trained positions, in nats.
        weights: Σ w over trained positions.
        counts: Trained positions.
        correct: Trained positions whose largest logit is the target's.
    """

    loss: Tensor
    weighted: Tensor
    unweighted: Tensor
    weights: Tensor
    counts: Tensor
    correct: Tensor


def lean_head_losses(
    states: Tensor,
    project: Project,
    parameters: Sequence[Tensor],
    targets: Tensor,
    weights: Tensor,
    mask: Tensor,
    *,
    segments: Tensor | None = None,
    trained: Tensor | None = None,
    coefficients: Tensor | None = None,
    denominators: Tensor | None = None,
) -> HeadLosses:
    """`weighted_mtp_loss` from the heads' states, with each head's sums, never holding more than a block of logits.

    The paper's trick (arXiv 2404.19737, section 2) of going through one head at a time, forward and backward, taken a step
    further. Positions that train nothing are left out, so a prompt costs no logits. Gradients are those of
    `weighted_mtp_loss`; second derivatives are not to be had.

    Args:
        states: The heads' outputs before norm and output matrix, [heads, batch, sequence, hidden].
        project: States [batch, sequence, hidden] → logits [batch, sequence, vocabulary], each position by itself.
        parameters: What `project` depends on and trains (`MtpLlamaForCausalLM.output_parameters`).
        targets: Token ids of the sequence itself, unshifted, [batch, sequence].
        weights: Each token's own weight, [batch, sequence].
        mask: True where a token exists, [batch, sequence].
        segments: Documents of packed rows, as in `head_targets`.
        trained: Tokens to be learned, as in `head_targets`.
        coefficients: Of each head, [heads]; default 1 / heads.
        denominators: Of each head, [heads]; default: its trained positions here. Pass those of the whole optimiser step.

    Returns:
        The loss and each head's sums.

    Raises:
        ValueError: States of another rank, or no heads.
    """
    if states.dim() != 4 or not len(states):
        raise ValueError(f"states must be [heads, batch, sequence, hidden], not {list(states.shape)}")
    ids, weight, there = all_targets(len(states), targets, weights, mask, segments, trained)
    counts = there.sum((1, 2))
    scale = head_scales(counts, coefficients, denominators).to(weight.dtype)
    if torch.is_grad_enabled():
        loss, weighted, unweighted, correct = _Lean.apply(  # type: ignore[no-untyped-call]
            project, ids, weight, there, scale, states, *parameters
        )
    else:
        loss, weighted, unweighted, correct = _forward_only(project, ids, weight, there, scale, states)
    return HeadLosses(loss, weighted, unweighted, weight.sum((1, 2)), counts, correct)


def lean_mtp_loss(
    states: Tensor,
    project: Project,
    parameters: Sequence[Tensor],
    targets: Tensor,
    weights: Tensor,
    mask: Tensor,
    *,
    segments: Tensor | None = None,
    trained: Tensor | None = None,
    coefficients: Tensor | None = None,
    denominators: Tensor | None = None,
) -> Tensor:
    """The scalar of `lean_head_losses`, which says what the arguments are."""
    return lean_head_losses(
        states,
        project,
        parameters,
        targets,
        weights,
        mask,
        segments=segments,
        trained=trained,
        coefficients=coefficients,
        denominators=denominators,
    ).loss


class _Rows:
    """The rows of all heads that train something, a block of one head at a time, and what they add up to."""

    def __init__(self, ids: Tensor, weight: Tensor, there: Tensor, vocabulary: int) -> None:
        self.ids, self.weight = ids.flatten(), weight.flatten()
        self.sums = weight.new_zeros((2, len(ids)))  # weighted, unweighted
        self.correct = torch.zeros(len(ids), dtype=torch.int64, device=ids.device)
        per_head = ids[0].numel()
        most = max(FEWEST_ROWS, BLOCK_LOGITS.get(ids.device.type, MORE_LOGITS) // vocabulary)
        self.blocks = [
            (head, rows + head * per_head)
            for head, positions in enumerate(there.flatten(1))
            for rows in positions.nonzero().flatten().split(most)
            if len(rows)
        ]

    def add(self, head: int, losses: Tensor, weight: Tensor, right: Tensor) -> None:
        self.sums[0, head] += (losses * weight).sum()
        self.sums[1, head] += losses.sum()
        self.correct[head] += right.sum()

    def result(self, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return (self.sums[0] * scale).sum(), self.sums[0], self.sums[1], self.correct


def _vocabulary(project: Project, flat: Tensor) -> int:
    """The width of the logits, from no rows at all."""
    with torch.no_grad():
        return int(project(flat[None, :0]).shape[-1])


def _forward_only(
    project: Project, ids: Tensor, weight: Tensor, there: Tensor, scale: Tensor, states: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sums alone, for validation: no gradient is made."""
    flat = states.flatten(0, 2)
    rows = _Rows(ids, weight, there, _vocabulary(project, flat))
    for head, index in rows.blocks:
        losses, right, _ = _block(project(flat[index][None])[0], rows.ids[index], None)
        rows.add(head, losses, rows.weight[index], right)
    return rows.result(scale)


class _Lean(torch.autograd.Function):
    """The sum of weighted cross-entropies over heads; logits exist for one block of one head at a time.

    Their gradient, softmax less one at the target, is written by hand and sent through `project` at once, so that neither
    logits nor their softmax are kept; what is kept is the gradient of the states and of the parameters.
    """

    @staticmethod
    def forward(
        ctx: Any,
        project: Project,
        ids: Tensor,
        weight: Tensor,
        there: Tensor,
        scale: Tensor,
        states: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        trained = [p for p in parameters if p.requires_grad]
        sums: list[Tensor | None] = [None] * len(trained)
        flat = states.detach().flatten(0, 2)
        rows = _Rows(ids, weight, there, _vocabulary(project, flat))
        gradient = torch.zeros_like(flat)
        for head, index in rows.blocks:
            wanted, own = rows.ids[index], rows.weight[index]
            with torch.enable_grad():
                leaf = flat[index].requires_grad_(True)
                logits = project(leaf[None])
            edge = get_gradient_edge(logits)
            losses, right, of_logits = _block(logits.detach()[0], wanted, own * scale[head])
            assert of_logits is not None
            del logits  # before there is a gradient of the parameters, which is as large
            found = torch.autograd.grad(edge, [leaf, *trained], of_logits[None], allow_unused=True)
            del of_logits
            gradient[index] = _added(sums, found)
            del found
            rows.add(head, losses, own, right)
        ctx.save_for_backward(gradient.view_as(states), *(s for s in sums if s is not None))
        ctx.present = [s is not None for s in sums]
        ctx.trained = [p.requires_grad for p in parameters]
        result = rows.result(scale)
        ctx.mark_non_differentiable(*result[1:])
        return result

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        upstream = outputs[0]
        of_states, *saved = ctx.saved_tensors
        found = iter([saved.pop(0) * upstream if there else None for there in ctx.present])
        constants = (None,) * 5
        return (*constants, of_states * upstream, *(next(found) if one else None for one in ctx.trained))


def _added(sums: list[Tensor | None], found: Sequence[Tensor | None]) -> Tensor:
    """Adds the parameters' gradients to their sums; returns that of the rows, which comes first."""
    of_rows, *of_parameters = found
    for number, one in enumerate(of_parameters):
        known = sums[number]
        sums[number] = one if known is None or one is None else known.add_(one)
    assert of_rows is not None
    return of_rows


def _block(logits: Tensor, ids: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """(CE of each row, whether its largest logit is the target's, the gradient of Σ w · CE): logits [rows, vocabulary]."""
    largest = logits.amax(-1, keepdim=True).float()
    share = (logits - largest).exp_()  # in float32, as `largest` is
    total = share.sum(-1, keepdim=True)
    wanted = logits.gather(-1, ids[:, None]).float()
    losses = (total.log() + largest - wanted)[:, 0]
    right = (wanted == largest)[:, 0]
    ties = (
        right.nonzero().flatten()
    )  # of equal logits the first counts; argmax over all rows would cost a tenth of the loss
    right[ties] = logits[ties].argmax(-1) == ids[ties]
    if weight is None:
        return losses, right, None
    share.div_(total)
    share.scatter_add_(-1, ids[:, None], share.new_full((len(ids), 1), -1.0))
    return losses, right, share.mul_(weight[:, None]).to(logits.dtype)
