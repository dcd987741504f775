"""Rows of a run's data sets, for evaluators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from wmtp.errors import ConfigError
from wmtp.loaders import DataLoader


@attrs.frozen
class Rows:
    """Rows of one data set, or of none. See `wmtp.contracts.evaluation.FirstRows`."""

    _loader: Callable[[str], DataLoader]
    _dataset: str | None

    def __call__(self, split: str) -> Iterable[Mapping[str, Any]]:
        return self._of(split, None)

    def first(self, split: str, limit: int) -> Iterable[Mapping[str, Any]]:
        return self._of(split, limit)

    def _of(self, split: str, limit: int | None) -> Iterable[Mapping[str, Any]]:
        if self._dataset is None:
            raise ConfigError("this evaluator declares no data set, so it has no rows")
        return self._loader(self._dataset).rows(split, limit)
