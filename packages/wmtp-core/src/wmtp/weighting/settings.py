"""Options that every scorer has: those of `normalize_weights`."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import validators


@attrs.frozen(kw_only=True)
class WeightSettings:
    """temperature of the softmax, and the bounds of a weight."""

    temperature: float = attrs.field(default=0.7, validator=validators.gt(0))
    min_weight: float = attrs.field(default=0.05, validator=[validators.gt(0), validators.le(1)])
    max_weight: float = attrs.field(default=3.0, validator=validators.ge(1))

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `normalize_weights`."""
        return {"temperature": self.temperature, "min_weight": self.min_weight, "max_weight": self.max_weight}
