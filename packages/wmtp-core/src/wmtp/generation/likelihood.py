"""What each head gives a text that is known: its cross-entropy and whether its first choice was right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmtp.contracts.engines import HeadScores
from wmtp.generation.forward import Forward

AT_ONCE = 1 << 24  # logits held at a time: 64 MiB in float32


def head_scores(forward: Forward, ids: Sequence[int], start: int, device: torch.device) -> HeadScores:
    """Scores of the tokens ids[start:] under every head, each given all that stands before the position it looks from.

    Head i looks from position p − 1 − i at token p, so a head far ahead has none to look from for the first few.
    """
    tokens = torch.tensor([list(ids)], device=device)
    states = forward.whole(tokens)  # [heads, 1, width, …]
    losses, right, counts = [], [], []
    for head in range(forward.heads):
        first = max(start, head + 1)
        loss, hits = _score(forward, states[head, 0, first - 1 - head : len(ids) - 1 - head], tokens[0, first:])
        losses.append(loss)
        right.append(hits)
        counts.append(len(ids) - first)
    return HeadScores(loss=tuple(losses), right=tuple(right), tokens=tuple(counts))


def _score(forward: Forward, states: Tensor, targets: Tensor) -> tuple[float, int]:
    """(sum of −log p in nats, how often the largest logit was the target's). states: [tokens, …]; targets: [tokens]."""
    loss, right = 0.0, 0
    size = max(1, AT_ONCE // forward.vocabulary)
    for some, wanted in zip(torch.split(states, size), torch.split(targets, size), strict=True):
        logits = forward.target_logits(some[None, None])[0].float()
        loss += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(-1) == wanted).sum())
    return loss, right
