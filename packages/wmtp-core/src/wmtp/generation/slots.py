"""The fixed places in which completions grow: a free one is refilled, and none moves while others come and go."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from wmtp.contracts.engines import FinishReason, GenerationRequest
from wmtp.generation.cache import RaggedCache
from wmtp.generation.text import Continuation


@attrs.define(eq=False)
class Row:
    """One completion being written."""

    request: GenerationRequest
    key: bytes
    text: Continuation
    budget: int
    started: float
    position: int  # where the next input token goes
    ids: list[int] = attrs.Factory(list)
    pending: list[int] = attrs.Factory(list)  # the last token and the drafts behind it: the next input
    finish: FinishReason | None = None


class Slots:
    """Rows and their keys and values. How many there are is decided when the first prompt shows what a position costs."""

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._most_bytes: int | None = None
        self._rows: list[Row | None] = []
        self._cache: RaggedCache | None = None

    @property
    def cache(self) -> RaggedCache:
        assert self._cache is not None, "nothing was put here yet"
        return self._cache

    @property
    def count(self) -> int:
        return len(self._rows)

    def planned(self) -> bool:
        return self._cache is not None

    def free(self) -> bool:
        """Whether a row can be put here."""
        return self._cache is None or None in self._rows

    def active(self) -> list[int]:
        """Slots that hold a row."""
        return [slot for slot, row in enumerate(self._rows) if row is not None]

    def rows(self) -> list[Row]:
        """What the active slots hold, in their order."""
        return [row for row in self._rows if row is not None]

    def plan(self, count: int, capacity: int, like: RaggedCache, most_bytes: int | None) -> None:
        """Makes `count` slots of `capacity` positions, of the shapes and types of a cache that has been written.

        most_bytes: what they may take in all when they grow; ``None``: whatever it takes.
        """
        self._rows = [None] * count
        self._cache = RaggedCache(self._layers, capacity)
        self._cache.start(like, count)
        self._most_bytes = most_bytes

    def make_room(self, capacity: int) -> bool:
        """Whether a row of `capacity` positions can be put here now. Slots grow for it, and are fewer where memory asks that;
        a row that would not fit beside those that are going has to wait for them."""
        if capacity <= self.cache.capacity:
            return True
        count, going = self.count, self.active()
        if self._most_bytes is not None:
            count = min(count, max(1, self._most_bytes // (capacity * self.cache.bytes_per_position())))
        if len(going) >= count:
            return False
        if count < self.count:
            free = [slot for slot, row in enumerate(self._rows) if row is None]
            self._keep(sorted([*going, *free[: count - len(going)]]))
        self.cache.grow(capacity)
        return True

    def _keep(self, slots: list[int]) -> None:
        self.cache.keep(slots)
        self._rows = [self._rows[slot] for slot in slots]

    def put(self, row: Row, prompt: RaggedCache, length: int) -> None:
        """Gives the row a free slot, with the first `length` positions of its prompt's cache."""
        slot = self._rows.index(None)
        self.cache.copy_row(prompt, slot, length)
        self._rows[slot] = row

    def release(self, *, compact: bool) -> list[Row]:
        """Frees the slots of finished rows and returns these. compact: nothing will refill them, so give up the free ones
        once they are half of all."""
        done = [row for row in self._rows if row is not None and row.finish]
        if done:
            self._rows = [None if row is None or row.finish else row for row in self._rows]
            going = self.active()
            if compact and going and len(going) <= len(self._rows) // 2:
                self._keep(going)
        return done

    def inputs(self, width: int) -> tuple[list[list[int]], list[int]]:
        """(tokens [slots][width], first positions [slots]) of the coming forward. Free slots run along, at position 0."""
        rows = self._rows
        return (
            [[0] * width if row is None else row.pending[:width] for row in rows],
            [0 if row is None else row.position for row in rows],
        )

    def of_active(self, states: Tensor) -> Tensor:
        """[…, slots, …] along dimension 1 → what belongs to rows."""
        active = self.active()
        if len(active) == self.count:
            return states
        return states.index_select(1, torch.tensor(active, device=states.device))
