"""A window of time, for benchmarks whose problems are dated: what is older than a model may have been seen by it."""

from __future__ import annotations

from datetime import date

import attrs

from wmtp.errors import ConfigError


def _day(settings: object, field: attrs.Attribute[str], value: str) -> None:
    try:
        plain = (
            not value or date.fromisoformat(value).isoformat() == value
        )  # 20240801 is a day too, but days are compared as text
    except ValueError:
        plain = False
    if not plain:
        raise ConfigError(f"{field.name}: expected a day like 2024-08-01, not {value!r}")


def _behind_start(settings: DateWindow, field: attrs.Attribute[str], value: str) -> None:
    if value and value < settings.start_date:
        raise ConfigError(f"start_date {settings.start_date} is behind end_date {value}")


@attrs.frozen(kw_only=True, slots=False)  # stands beside another base
class DateWindow:
    """The settings of a benchmark with dated problems; its own settings derive from it.

    Attributes:
        start_date: First day of the window, like ``"2024-08-01"``; ``""``: from the first problem on.
        end_date: Last day of the window, itself within; ``""``: up to the last problem.
    """

    start_date: str = attrs.field(default="", validator=_day)
    end_date: str = attrs.field(default="", validator=[_day, _behind_start])

    def holds(self, day: str) -> bool:
        """Whether a day, as ISO has it, is within."""
        return self.start_date <= day <= (self.end_date or "9999")
