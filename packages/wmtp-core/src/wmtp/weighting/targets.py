"""What each head is trained on: which token, at which weight, and from which positions."""

from __future__ import annotations

import torch
from torch import Tensor


def head_targets(
    targets: Tensor,
    weights: Tensor,
    mask: Tensor,
    head: int,
    *,
    segments: Tensor | None = None,
    trained: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Target ids and weights of one head at every position.

    Head k at position t predicts token t + 1 + k, and that token's own weight counts: `targets` and `weights` are those of
    the sequence itself, never shifted by the caller. Weights are constants here: no gradient flows back into whatever made
    them, so a model cannot lower its loss by moving weight to easy tokens.

    Args:
        targets: Token ids of the sequence, [batch, sequence].
        weights: Weight of each token, [batch, sequence].
        mask: True where a token exists (is not padding), [batch, sequence].
        head: Index of the head; 0 predicts the next token.
        segments: Number of the document that each token belongs to, [batch, sequence]; documents are contiguous. A head
            never predicts across a border. ``None``: a row is one document.
        trained: True where a token is to be learned, [batch, sequence]. A prompt's tokens exist, and are looked from, but are
            not trained. ``None``: every token that exists.

    Returns:
        Ids and weights, both [batch, sequence]; both are 0 at positions that train nothing: too near the end of row or
        document, in padding, or before a token that is not trained.
    """
    ids, weight, _ = _shifted(targets, weights, mask, head, segments, trained)
    return ids, weight


def trained_positions(
    mask: Tensor, head: int, *, segments: Tensor | None = None, trained: Tensor | None = None
) -> Tensor:
    """True at the positions from which `head` predicts a token that is trained, [batch, sequence].

    A token of weight 0 is still a trained one: it counts in denominators, and lowers the loss by what it does not say.
    """
    shift = 1 + head
    there = torch.zeros_like(mask, dtype=torch.bool)
    if shift < mask.shape[1]:
        exists = mask.bool()
        both = exists[:, shift:] & exists[:, :-shift]
        if segments is not None:
            both = both & (segments[:, shift:] == segments[:, :-shift])
        if trained is not None:
            both = both & trained[:, shift:].bool()
        there[:, :-shift] = both
    return there


def _shifted(
    targets: Tensor, weights: Tensor, mask: Tensor, head: int, segments: Tensor | None, trained: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(ids, weights, trained positions) of one head."""
    there = trained_positions(mask, head, segments=segments, trained=trained)
    shift = 1 + head
    ids, weight = torch.zeros_like(targets), torch.zeros_like(weights, requires_grad=False)
    if shift < targets.shape[1]:
        ids[:, :-shift] = torch.where(there[:, :-shift], targets[:, shift:], 0)
        weight[:, :-shift] = torch.where(there[:, :-shift], weights.detach()[:, shift:], 0.0)
    return ids, weight, there


def all_targets(
    heads: int,
    targets: Tensor,
    weights: Tensor,
    mask: Tensor,
    segments: Tensor | None = None,
    trained: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`head_targets` of every head, and its trained positions: three tensors [heads, batch, sequence]."""
    each = [_shifted(targets, weights, mask, head, segments, trained) for head in range(heads)]
    ids, weight, there = (torch.stack(parts) for parts in zip(*each, strict=True))
    return ids, weight, there


def token_weights(sequence_weight: Tensor, segments: Tensor | None, width: int) -> Tensor:
    """How much a whole sequence matters, as a factor of each of its tokens: [batch, width].

    Token weights have mean 1 in every sequence, so they cannot say that one sequence matters more than another. Multiply
    them by this, and leave the denominators alone.

    Args:
        sequence_weight: [batch], one for each row; or [batch, documents] where rows are packed.
        segments: Number of each token's document, [batch, width], where rows are packed.
        width: Tokens in a row.
    """
    if segments is None:
        return sequence_weight.reshape(-1, 1).expand(-1, width)
    return sequence_weight.gather(1, segments.long())
