"""A row of which the head alone is held: a data set's tests may be many times larger than everything else in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from wmtp.kit.rows import RowFile


@attrs.frozen(eq=False)
class LateRow(Mapping[str, Any]):
    """A row whose bulky fields stay in the file until they are asked for, and are not kept afterwards.

    Attributes:
        head: The fields that are held.
        bulky: Names of those that are not.
        file: Where the row stands.
        place: Its `Row.place`.
    """

    head: Mapping[str, Any]
    bulky: Collection[str]
    file: RowFile
    place: tuple[int, int]

    def whole(self) -> Mapping[str, Any]:
        """The row with everything in it, read now."""
        return self.file.at(self.place)

    def __getitem__(self, key: str) -> Any:
        return self.whole().get(key) if key in self.bulky else self.head[key]

    def __iter__(self) -> Iterator[str]:
        return iter((*self.head, *self.bulky))

    def __len__(self) -> int:
        return len(self.head) + len(self.bulky)
