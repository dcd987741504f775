"""From acceptance at every position to what a decoder counts: steps, lengths, acceptance by depth.

A step starts at an anchor: a position whose next token is certain. Its drafts are for the tokens after that one. With m of
them accepted, the next anchor is m + 1 positions on. Given the text, drafts at different positions are accepted
independently of one another, so all that a decoder counts has an exact expectation: one pass over the positions, no
simulation.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from wmtp.statistics.shares import Share


@attrs.frozen
class Walk:
    """What decoding one text with k drafts a step is expected to count.

    Attributes:
        steps: forwards that verify.
        tokens: the text's length.
        drafted: by depth, drafts whose token lies within the text.
        reached: by depth, of these, those whose predecessors were all accepted.
        accepted: by depth, of these, those that were accepted.
        noise: by depth, the variance of accepted − (accepted / drafted) · drafted that comes from the noise alone.
    """

    steps: float
    tokens: int
    drafted: tuple[float, ...]
    reached: tuple[float, ...]
    accepted: tuple[float, ...]
    noise: tuple[float, ...]


def walk(accepts: Sequence[Sequence[float]], tokens: int, k: int) -> Walk:
    """Expected counts over one text.

    Args:
        accepts: ``accepts[d][t]``: the probability that the draft of depth d + 1 of an anchor at t is accepted, given that
            those before it were and that the text is as it is. Anchor t's certain token is token t of the text, so depth
            d + 1 drafts token t + d + 1, and row d has ``tokens − d − 1`` entries.
        tokens: the text's length.
        k: drafts a step.
    """
    reach = [0.0] * (tokens + 1)
    reach[0] = 1.0  # the probability that t is an anchor
    steps, drafted, reached, accepted = 0.0, [0.0] * k, [0.0] * k, [0.0] * k
    lengths: list[list[float]] = []
    for t in range(tokens):
        lasting, lengths_here = 1.0, []
        steps += reach[t]
        for d in range(min(k, tokens - t - 1)):
            drafted[d] += reach[t]
            reached[d] += reach[t] * lasting
            rate = accepts[d][t]
            lengths_here.append(lasting * (1 - rate))
            lasting *= rate
            accepted[d] += reach[t] * lasting
        lengths_here.append(lasting)
        lengths.append(lengths_here)
        for more, share in enumerate(lengths_here):
            reach[t + more + 1] += reach[t] * share
    noise = tuple(
        _variance(lengths, depth, accepted[depth] / drafted[depth]) if drafted[depth] else 0.0 for depth in range(k)
    )
    return Walk(steps, tokens, tuple(drafted), tuple(reached), tuple(accepted), noise)


def _variance(lengths: Sequence[Sequence[float]], depth: int, rate: float) -> float:
    """Variance, over the noise, of Σ over steps of (accepted at this depth − rate), by first and second moments."""
    count = len(lengths)
    first, second = [0.0] * (count + 1), [0.0] * (count + 1)
    for t in reversed(range(count)):
        there = len(lengths[t]) - 1 > depth
        for more, share in enumerate(lengths[t]):
            gain = ((more > depth) - rate) if there else 0.0
            ahead = t + more + 1
            first[t] += share * (gain + first[ahead])
            second[t] += share * (gain * gain + 2 * gain * first[ahead] + second[ahead])
    return max(0.0, second[0] - first[0] ** 2)


def lengths(walks: Sequence[Walk]) -> tuple[Share, Share]:
    """Tokens a step that drafts, the bonus token included: (pooled over all steps, mean of the requests' own)."""
    found = [(w.drafted[0] + sum(w.accepted), w.drafted[0]) for w in walks if w.drafted and w.drafted[0]]
    return Share.of(found), Share.of([(tokens / steps, 1.0) for tokens, steps in found])


def depths(walks: Sequence[Walk]) -> tuple[list[Share], list[Share]]:
    """Acceptance by depth, pooled over steps: (of all drafts of that depth, of those whose predecessors were accepted).

    The intervals hold for what a run over problems like these would count, so they include its noise.
    """
    deep = max(len(w.drafted) for w in walks)
    unconditional = [
        Share.of([(w.accepted[d], w.drafted[d]) for w in walks], noise=[w.noise[d] for w in walks]) for d in range(deep)
    ]
    conditional = [Share.of([(w.accepted[d], w.reached[d]) for w in walks]) for d in range(deep)]
    return unconditional, conditional
