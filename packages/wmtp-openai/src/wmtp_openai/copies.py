"""Whether the samples of a problem are copies of one another: a server that does not draw, or has one seed for all."""

from __future__ import annotations

import hashlib

import wmtp

ENOUGH = 3
"""Samples of a problem from which on it counts, and problems of that kind from which on it is told."""


class Copies:
    """Counts, for each problem, samples and different texts. A few bytes a problem."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, bytes, bool]] = {}

    def add(self, completion: wmtp.Completion) -> None:
        """Takes note of a completion that was drawn."""
        key = (completion.key.evaluator, completion.key.problem)
        digest = hashlib.sha256(completion.text.encode("utf-8", "surrogatepass")).digest()[:8]
        count, first, equal = self._seen.get(key, (0, digest, True))
        self._seen[key] = (count + 1, first, equal and digest == first)

    def notes(self) -> list[str]:
        """A line where the samples of most problems are one text."""
        sampled = [equal for count, _, equal in self._seen.values() if count >= ENOUGH]
        copied = sum(sampled)
        if copied < ENOUGH or copied < 0.9 * len(sampled):
            return []
        return [
            f"COPIES: at a temperature above 0, all samples of {copied} of {len(sampled)} problems are one text; they are no "
            "independent samples, and pass@k for k above 1 says nothing"
        ]
