"""What each head gives a text that is known: its cross-entropy and whether its first choice was right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from wmtp.contracts.engines import HeadScores
from wmtp.contracts.models import Drafter, TargetModel
from wmtp.errors import GenerationError

AT_ONCE = 1 << 24  # logits held at a time: 64 MiB in float32


def head_scores(
    target: TargetModel, drafter: Drafter, ids: Sequence[int], start: int, device: torch.device
) -> HeadScores:
    """Scores of the tokens ids[start:] under every head, each given all that stands before the position it looks from.

    Head i looks from position p − 1 − i at token p, so a head far ahead has none to look from for the first few.
    """
    tokens = torch.tensor([list(ids)], device=device)
    hidden, states = target.whole(tokens)
    heads: list[tuple[Tensor, Callable[[Tensor], Tensor]]] = [(states, target.project)]
    if drafter.depth:
        heads += [(s, partial(drafter.project, depth=d)) for d, s in enumerate(drafter.whole(tokens, hidden))]
    losses, right, counts = [], [], []
    for head, (found, project) in enumerate(heads):
        first = max(start, head + 1)
        seen = found[0, first - 1 - head : len(ids) - 1 - head]
        loss, hits = _score(project, target.vocabulary, seen, tokens[0, first:])
        losses.append(loss)
        right.append(hits)
        counts.append(len(ids) - first)
    if not all(math.isfinite(loss) for loss in losses):
        kind = str(states.dtype).removeprefix("torch.")
        raise GenerationError(f"the model's logits are not finite (computed in {kind}): no loss can be made of them")
    return HeadScores(loss=tuple(losses), right=tuple(right), tokens=tuple(counts))


def _score(project: Callable[[Tensor], Tensor], vocabulary: int, states: Tensor, targets: Tensor) -> tuple[float, int]:
    """(sum of −log p in nats, how often the largest logit was the target's). states: [tokens, …]; targets: [tokens]."""
    loss, right = 0.0, 0
    size = max(1, AT_ONCE // vocabulary)
    for some, wanted in zip(torch.split(states, size), torch.split(targets, size), strict=True):
        logits = project(some).float()
        loss += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(-1) == wanted).sum())
    return loss, right
