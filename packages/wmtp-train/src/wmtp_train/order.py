"""Which rows a step takes, and what randomness depends on: functions of (seed, step, micro-batch, rank) and nothing else.

So a checkpoint needs no state of a loader or a generator, and another number of processes takes the same rows at each step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache


def key(*parts: int | str) -> int:
    """63 bits that depend on all parts: a seed for whatever they name."""
    text = "\0".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


@lru_cache(maxsize=2)
def epoch_order(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The rows of one epoch, shuffled: each exactly once."""
    return tuple(sorted(range(rows), key=lambda row: key("order", seed, epoch, row)))


def total_steps(rows: int, batch_size: int, epochs: int, max_steps: int | None) -> int:
    """Steps of a whole training."""
    return max_steps if max_steps is not None else -(-rows * epochs // batch_size)


def rows_of_step(step: int, *, rows: int, batch_size: int, seed: int, end: int | None) -> list[int]:
    """The rows of a step, counted from 0, over all processes.

    Epochs follow one another without a gap; `end` is how many rows there are in all, so that the last step may be short.
    """
    first = step * batch_size
    last = first + batch_size if end is None else min(first + batch_size, end)
    return [epoch_order(rows, seed, place // rows)[place % rows] for place in range(first, last)]


def micro_batches(rows: Sequence[int], *, size: int, rank: int, world: int) -> list[list[int]]:
    """What one process takes of a step, a micro-batch at a time: the same number for every process, some perhaps empty."""
    per_round = size * world
    rounds = -(-len(rows) // per_round)
    return [
        list(rows[start + rank * size : start + (rank + 1) * size]) for start in (i * per_round for i in range(rounds))
    ]
