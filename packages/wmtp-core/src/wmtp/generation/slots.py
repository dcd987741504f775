"""The fixed slots in which completions grow: a free one is refilled, and none moves while others come and go."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmtp.generation.ragged_cache import RaggedCache
from wmtp.generation.sequences import ActiveSequence


class Slots:
    """Rows and their keys and values. How many there are is decided when the first prompt shows what a position costs."""

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._most_bytes: int | None = None
        self._rows: list[ActiveSequence | None] = []
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

    def rows(self) -> list[ActiveSequence]:
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
            count = min(count, max(1, self._most_bytes // max(1, self.cache.row_bytes(capacity))))
        if len(going) >= count:
            return False
        if count < self.count:
            free = [slot for slot, row in enumerate(self._rows) if row is None]
            self._select(sorted([*going, *free[: count - len(going)]]))
        self.cache.grow(capacity)
        return True

    def _select(self, slots: list[int]) -> None:
        self.cache.select_slots(slots)
        self._rows = [self._rows[slot] for slot in slots]

    def put(self, row: ActiveSequence, prompt: RaggedCache, length: int) -> None:
        """Gives the row a free slot, with the first `length` positions of its prompt's cache."""
        slot = self._rows.index(None)
        self.cache.copy_row(prompt, slot, length)
        self._rows[slot] = row

    def release(self, *, compact: bool) -> list[ActiveSequence]:
        """Frees the slots of finished rows and returns these. compact: nothing will refill them, so give up the free ones
        once they are half of all."""
        done = [row for row in self._rows if row is not None and row.finish]
        if done:
            self._rows = [None if row is None or row.finish else row for row in self._rows]
            going = self.active()
            if compact and going and len(going) <= len(self._rows) // 2:
                self._select(going)
        return done

    def inputs(self, width: int) -> tuple[list[list[int]], list[int]]:
        """(tokens [slots][width], first positions [slots]) of the coming forward. Free slots run along, at position 0."""
        rows = self._rows
        return (
            [[0] * width if row is None else row.pending[:width] for row in rows],
            [0 if row is None else row.position for row in rows],
        )

    def next_positions(self) -> list[int]:
        """Where the next input of every slot goes."""
        return [0 if row is None else row.position for row in self._rows]

    def of(self, rows: Sequence[ActiveSequence]) -> list[int]:
        """The slots that hold these rows."""
        slot_of = {id(row): slot for slot, row in self.occupied()}
        return [slot_of[id(row)] for row in rows]

    def occupied(self) -> list[tuple[int, ActiveSequence]]:
        """Active slots with their rows."""
        return [(slot, row) for slot, row in enumerate(self._rows) if row is not None]

    def active_index(self, device: torch.device) -> Tensor | None:
        """The active slots; ``None`` if all are."""
        active = self.active()
        return None if len(active) == self.count else torch.tensor(active, device=device)
