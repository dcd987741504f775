"""Figures over all texts, with 95 % intervals over problems: what ``wmtp heads`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wmtp.heads.acceptance import RULES
from wmtp.heads.measure import Measured
from wmtp.heads.walk import depths, lengths
from wmtp.statistics.shares import Share

Json = dict[str, Any]


def by_depth(texts: Sequence[Measured]) -> list[Json]:
    """Of every draft depth: loss and first choices (means over problems of the problems' own), and acceptance.

    ``acceptance`` is of all drafts at that depth that lie in a text, ``conditional`` of those whose predecessors were
    accepted; both as a decoder counts them that drafts all depths in every step.
    """
    deepest = len(texts[0].scores.loss) - 1
    walks = {rule: depths([text.walk(rule, deepest) for text in texts]) for rule in RULES} if deepest else {}
    found = []
    for depth in range(deepest):
        own = scores(texts, depth + 1)
        shares = {rule: walks[rule][0][depth].within(0, 1) for rule in RULES}
        conditional = {rule: walks[rule][1][depth].within(0, 1) for rule in RULES}
        found.append({
            "depth": depth + 1,
            "loss": own["loss"].value,
            "top1": own["top1"].value,
            "acceptance": _values(shares),
            "conditional": _values(conditional),
            "intervals": {
                "loss": own["loss"].interval,
                "top1": own["top1"].interval,
                "acceptance": _spans(shares),
                "conditional": _spans(conditional),
            },
        })  # fmt: skip
    return found


def scores(texts: Sequence[Measured], head: int) -> dict[str, Share]:
    """``loss`` in nats a token and ``top1`` of a head, 0 the next-token head: means over problems of their own means."""
    kept = [text.scores for text in texts if text.scores.scored[head] > 0]
    return {
        "loss": Share.of([(s.loss[head] / s.scored[head], 1.0) for s in kept]),
        "top1": Share.of([(s.right[head] / s.scored[head], 1.0) for s in kept]).within(0, 1),
    }


def expected_length(texts: Sequence[Measured]) -> list[Json]:
    """Tokens a step that drafts, the bonus token included, for every number of drafts: pooled over steps, and per request."""
    found = []
    for k in range(1, len(texts[0].scores.loss)):
        both = {rule: lengths([text.walk(rule, k) for text in texts]) for rule in RULES}
        pooled = {rule: shares[0].within(1, k + 1) for rule, shares in both.items()}
        own = {rule: shares[1].within(1, k + 1) for rule, shares in both.items()}
        found.append({"k": k, **_values(pooled), "per_request": _values(own), "intervals": _spans(pooled)})
    return found


def _values(shares: Mapping[str, Share]) -> Json:
    return {rule: share.value for rule, share in shares.items()}


def _spans(shares: Mapping[str, Share]) -> Json:
    return {rule: share.interval for rule, share in shares.items()}
