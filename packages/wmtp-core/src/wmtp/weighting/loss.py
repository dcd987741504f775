"""The weighted multi-token-prediction loss, and the path to it that holds one head's logits at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Project = Callable[[Tensor], Tensor]
BLOCK_ROWS = 128


def head_targets(targets: Tensor, weights: Tensor, mask: Tensor, head: int) -> tuple[Tensor, Tensor]:
    """(ids, weights) that head `head` is trained on at every position, both [batch, sequence].

    Head k at position t predicts token t + 1 + k, and that token's own weight counts. Beyond the end, behind padding, and
    where the position itself is padding, the weight is 0 and the id is 0.
    """
    shift = 1 + head
    valid = mask.bool()
    ids = torch.zeros_like(targets)
    weight = torch.zeros_like(weights)
    if shift < targets.shape[1]:
        both = valid[:, shift:] & valid[:, :-shift]
        ids[:, :-shift] = torch.where(both, targets[:, shift:], 0)
        weight[:, :-shift] = torch.where(both, weights[:, shift:], 0.0)
    return ids, weight


def _head_loss(logits: Tensor, ids: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy, summed: logits [batch, sequence, vocabulary]."""
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids.flatten(), reduction="none")
    return (each * weight.flatten()).sum()


def _scale(targets: Tensor, weights: Tensor, mask: Tensor, heads: int) -> list[Tensor]:
    """Per head, 1 / (heads · its number of trained positions): the loss is a mean over heads of means over tokens."""
    ones = mask.to(weights.dtype)
    counts = [head_targets(targets, ones, mask, head)[1].sum() for head in range(heads)]
    return [1.0 / (heads * count.clamp(min=1)) for count in counts]


def weighted_mtp_loss(
    logits_by_head: Tensor | Sequence[Tensor], targets: Tensor, weights: Tensor, mask: Tensor
) -> Tensor:
    """Σ_heads mean_t w_{t+1+k} · CE(head k at t, token t + 1 + k) / heads.

    logits_by_head  [batch, sequence, heads, vocabulary], or one [batch, sequence, vocabulary] for each head.
    targets         token ids [batch, sequence]; weights: each token's weight; mask: true at tokens that are not padding.
    """
    heads = list(logits_by_head.unbind(2)) if isinstance(logits_by_head, Tensor) else list(logits_by_head)
    scale = _scale(targets, weights, mask, len(heads))
    losses = [_head_loss(logits, *head_targets(targets, weights, mask, k)) * scale[k] for k, logits in enumerate(heads)]
    return torch.stack(losses).sum()


class _Lean(torch.autograd.Function):
    """The sum of weighted cross-entropies over heads; logits exist for one block of one head at a time.

    Their gradient, softmax less one at the target, is written by hand and sent through `project` at once, so that neither
    logits nor their softmax are kept; what is kept is the gradient of the states and of the parameters.
    """

    @staticmethod
    def forward(ctx: Any, project: Project, ids: Tensor, weight: Tensor, states: Tensor, *parameters: Tensor) -> Tensor:
        trained = [p for p in parameters if p.requires_grad]
        sums: list[Tensor | None] = [None] * len(trained)
        flat, targets, weights = states.detach().flatten(0, 2), ids.flatten(), weight.flatten()
        gradient = torch.zeros_like(flat)
        total = torch.zeros((), dtype=weight.dtype, device=states.device)
        for start in range(0, len(flat), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            with torch.enable_grad():
                leaf = flat[rows].requires_grad_(True)
                logits = project(leaf[None])[0]
            loss, of_logits = _block(logits.detach(), targets[rows], weights[rows])
            of_leaf, *of_parameters = torch.autograd.grad(logits, [leaf, *trained], of_logits, allow_unused=True)
            del logits, of_logits
            gradient[rows] = of_leaf
            for place, found in enumerate(of_parameters):
                known = sums[place]
                sums[place] = found if known is None or found is None else known.add_(found)
            total += loss
        ctx.save_for_backward(gradient.view_as(states), *(s for s in sums if s is not None))
        ctx.present = [s is not None for s in sums]
        ctx.trained = [p.requires_grad for p in parameters]
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = outputs
        of_states, *saved = ctx.saved_tensors
        found = iter([saved.pop(0) * upstream if there else None for there in ctx.present])
        return (None, None, None, of_states * upstream, *(next(found) if one else None for one in ctx.trained))


def _block(logits: Tensor, ids: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(Σ w · CE, its gradient): logits [rows, vocabulary]."""
    largest = logits.amax(-1, keepdim=True).float()
    share = (logits.float() - largest).exp_()
    total = share.sum(-1, keepdim=True)
    wanted = logits.gather(-1, ids[:, None]).float()
    loss = ((total.log() + largest - wanted)[:, 0] * weight).sum()
    share.div_(total)
    share.scatter_add_(-1, ids[:, None], share.new_full((len(ids), 1), -1.0))
    return loss, share.mul_(weight[:, None]).to(logits.dtype)


def lean_mtp_loss(
    states: Tensor,
    project: Project,
    parameters: Sequence[Tensor],
    targets: Tensor,
    weights: Tensor,
    mask: Tensor,
) -> Tensor:
    """The same loss from the heads' states, never holding more than a block of one head's logits.

    The paper's trick (arXiv 2404.19737, section 2) of going through one head at a time, forward and backward, taken a step
    further: what has the size of the vocabulary never exists for more than a block of token rows.

    states      [heads, batch, sequence, hidden]: the heads' outputs before norm and output matrix.
    project     states [batch, sequence, hidden] → logits [batch, sequence, vocabulary], each position by itself (norm and
                output matrix); parameters: what it depends on and trains.

    Gradients are those of `weighted_mtp_loss`; second derivatives are not to be had. Raises ValueError without heads.
    """
    if states.dim() != 4 or not len(states):
        raise ValueError(f"states must be [heads, batch, sequence, hidden], not {list(states.shape)}")
    scale = _scale(targets, weights, mask, len(states))
    pairs = [head_targets(targets, weights, mask, head) for head in range(len(states))]
    ids = torch.stack([ids for ids, _ in pairs])
    weight = torch.stack([weight * scale[head] for head, (_, weight) in enumerate(pairs)])
    loss: Tensor = _Lean.apply(project, ids, weight, states, *parameters)  # type: ignore[no-untyped-call]
    return loss


def head_cross_entropies(logits_by_head: Tensor, targets: Tensor, mask: Tensor) -> list[float]:
    """Unweighted mean cross-entropy of each head, for logging: logits [batch, sequence, heads, vocabulary]."""
    ones = torch.ones(targets.shape, device=targets.device)
    found = []
    for head, logits in enumerate(logits_by_head.detach().unbind(2)):
        ids, weight = head_targets(targets, ones, mask, head)
        found.append((_head_loss(logits, ids, weight) / weight.sum().clamp(min=1)).item())
    return found
