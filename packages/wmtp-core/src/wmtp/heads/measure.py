"""One text under all heads: losses, first choices, and how often drafts at every position would be accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from wmtp.contracts.engines import HeadScores, Sampling
from wmtp.generation.likelihood import KnownText, head_scores
from wmtp.generation.sampling import GREEDY_BELOW, nucleus
from wmtp.heads.acceptance import RULES, acceptance
from wmtp.heads.walk import Walk, walk


@attrs.frozen(eq=False)
class Measured:
    """A text, or one problem's.

    Attributes:
        scores: losses and first choices of every head.
        accepts: rule → by depth, by anchor: the probability that the draft is accepted if its predecessors were, as `walk`
            takes it.
        tokens: the text's length.
    """

    scores: HeadScores
    accepts: Mapping[str, Sequence[Sequence[float]]]
    tokens: int

    def walk(self, rule: str, k: int) -> Walk:
        """What decoding this text with k drafts a step is expected to count."""
        return walk(self.accepts[rule], self.tokens, k)


def measure(text: KnownText, sampling: Sampling, *, drawn: bool) -> Measured:
    """Measures a text.

    Args:
        text: run through all heads.
        sampling: how target and drafts are drawn: temperature and top_p.
        drawn: whether the model wrote the text under this sampling. Its tokens are then those that drafts have to be equal to;
            of a text that was given, acceptance is the expectation over what the model would have drawn at each place.
    """
    depths = [_accepted(text, depth, sampling, drawn) for depth in range(1, text.heads)]
    return Measured(
        head_scores(text),
        {rule: [rows[number].tolist() for rows in depths] for number, rule in enumerate(RULES)},
        len(text.ids) - text.start,
    )


def _accepted(text: KnownText, head: int, sampling: Sampling, drawn: bool) -> Tensor:
    """[rules, anchors]: anchor t is the text's token t, and its draft at depth `head` is for token t + head."""
    found = [torch.empty(len(RULES), 0)]
    for begin, end in text.pieces(text.start + head, matrices=8):
        target, draft = text.logits(0, begin, end), text.logits(head, begin, end)
        tokens = text.ids[begin:end]
        if sampling.temperature < GREEDY_BELOW:
            wanted = tokens if drawn else target.argmax(-1)
            found.append((draft.argmax(-1) == wanted).float().cpu().expand(len(RULES), -1))
        else:
            rates = acceptance(_probabilities(target, sampling), _probabilities(draft, sampling), tokens)
            found.append((rates.given if drawn else rates.expected).float().cpu())
    return torch.cat(found, dim=1)


def _probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """What `sample_tokens` draws from."""
    scores = logits / sampling.temperature
    if sampling.top_p < 1:
        scores = scores.masked_fill(~nucleus(scores, sampling.top_p), float("-inf"))
    return scores.softmax(-1)
