"""Rows: documents beside one another, and the tensors of a micro-batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from wmtp_train.tokens import Document

if TYPE_CHECKING:
    from torch import Tensor


def pack(documents: Sequence[Document], max_length: int, *, several: bool) -> list[tuple[int, ...]]:
    """Which documents each row holds, by their numbers.

    Longest first, each into the fullest row that still takes it (best fit decreasing); ties go to the earlier one.

    Args:
        documents: In the order of the data.
        max_length: Tokens of a row.
        several: Whether a row may hold more than one.
    """
    if not several:
        return [(number,) for number in range(len(documents))]
    rows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    for number in sorted(range(len(documents)), key=lambda n: (-len(documents[n].ids), n)):
        length = len(documents[number].ids)
        room = min((r for r, waiting in by_room.items() if r >= length and waiting), default=None)
        if room is None:
            rows.append([])
            row, room = len(rows) - 1, max_length
        else:
            row = by_room[room].pop(0)
        rows[row].append(number)
        by_room.setdefault(room - length, []).append(row)
    return [tuple(row) for row in rows]


@attrs.frozen(eq=False)
class Batch:
    """A micro-batch. All tensors are [rows, width].

    Attributes:
        ids: Token ids; 0 where nothing is.
        positions: Of each token in its document.
        exists: True where a token is.
        trained: True where a token is to be learned.
        answer: True where a token of an answer is to be learned: what scorers weigh.
        segments: Number of each token's document in its row, from 0; −1 where nothing is.
        given: Weights from the data; ``None`` where they gave none.
        keys: What randomness of each row's documents depends on, [rows][documents].
        packed: Whether some row holds several documents.
    """

    ids: Tensor
    positions: Tensor
    exists: Tensor
    trained: Tensor
    answer: Tensor
    segments: Tensor
    given: Tensor | None
    keys: tuple[tuple[int, ...], ...]
    packed: bool


class Rows:
    """All rows of a data part, in memory as token ids."""

    def __init__(self, documents: Sequence[Document], max_length: int, *, several: bool, prompt_weight: float) -> None:
        self.documents, self._prompt_weight = documents, prompt_weight
        self.packing = pack(documents, max_length, several=several)
        self.has_given = any(one.given is not None for one in documents)

    def __len__(self) -> int:
        return len(self.packing)

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return sum(len(one.ids) for one in self.documents)

    def digest(self) -> str:
        """sha256 of everything that is trained on, and of how it lies in rows."""
        whole = hashlib.sha256(f"{self._prompt_weight}".encode())
        for row in self.packing:
            for number in row:
                one = self.documents[number]
                whole.update(f"{number} {one.answer_from} {one.given} {one.ids}\n".encode())
            whole.update(b"|")
        return whole.hexdigest()

    def names(self, rows: Sequence[int]) -> list[str]:
        """The examples in these rows, for messages."""
        return [self.documents[number].id for row in rows for number in self.packing[row]]

    def counts(self, row: int, heads: int) -> list[int]:
        """How many tokens each head is trained on in a row: head k reaches those k + 1 tokens behind a document's start."""
        found = [0] * heads
        for number in self.packing[row]:
            one = self.documents[number]
            first = 1 if self._prompt_weight > 0 else one.first_trained
            for head in range(heads):
                found[head] += max(0, len(one.ids) - max(first, head + 1))
        return found

    def batch(self, rows: Sequence[int], device: Any = "cpu") -> Batch:
        """The tensors of these rows; of none, one row of two tokens in which nothing is trained."""
        import torch

        chosen = [self.packing[row] for row in rows]
        width = max((sum(len(self.documents[n].ids) for n in row) for row in chosen), default=2)
        shape = (max(len(chosen), 1), width)
        ids, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        segments = torch.full(shape, -1, dtype=torch.long)
        trained, answer = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
        given = torch.ones(shape) if self.has_given else None
        for place, row in enumerate(chosen):
            start = 0
            for segment, number in enumerate(row):
                one = self.documents[number]
                end = start + len(one.ids)
                ids[place, start:end] = torch.tensor(one.ids)
                positions[place, start:end] = torch.arange(len(one.ids))
                segments[place, start:end] = segment
                answer[place, start + one.first_trained : end] = True
                trained[place, start + (1 if self._prompt_weight > 0 else one.first_trained) : end] = True
                if given is not None and one.given is not None:
                    given[place, start:end] = torch.tensor(one.given)
                start = end
            positions[place, start:] = torch.arange(width - start)  # behind the end; nobody reads what is there
        return Batch(
            ids=ids.to(device),
            positions=positions.to(device),
            exists=(segments >= 0).to(device),
            trained=trained.to(device),
            answer=answer.to(device),
            segments=segments.to(device),
            given=None if given is None else given.to(device),
            keys=tuple(chosen),
            packed=any(len(row) > 1 for row in chosen),
        )
