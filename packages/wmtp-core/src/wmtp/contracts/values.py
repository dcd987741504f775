"""Validators of the records that cross walls: numbers, texts, mappings.

They run when a record is made in Python, and field by field when a file is read. A file's reader has no instance to give
(`instance` is then ``None``) and names the key itself; in Python the message names the record and its field.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import attrs

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]
ALONE: Any = None
"""In place of a field, for a value that stands in no record."""


def _field(instance: Any, attribute: attrs.Attribute[Any]) -> str:
    return "" if instance is None else f"{type(instance).__name__}.{attribute.name} "


def number(
    low: float, *, above: bool = False, high: float | None = None, whole: bool = False, besides: tuple[Any, ...] = ()
) -> Validator:
    """Finite numbers from `low` (or above it) to `high`, whole ones only if `whole`; and the values `besides`."""
    plain, most = (int,) if whole else (int, float), sys.float_info.max if high is None else high
    bound = f"{'above' if above else 'at least'} {low}" + (f" and at most {high}" if high is not None else "")

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if type(value) in plain and (value > low if above else value >= low) and value <= most:
            return  # as nearly always
        if any(value is other or (isinstance(other, str) and value == other) for other in besides):
            return
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            kind = "a whole number" if whole else "a number"
            raise TypeError(f"{_field(instance, attribute)}must be {kind}, not {value!r}")
        in_range = (value > low if above else value >= low) and (high is None or value <= high)
        if not math.isfinite(value) or not in_range:
            raise ValueError(f"{_field(instance, attribute)}must be {bound}, not {value}")

    return validate


def one_of(*choices: Any) -> Validator:
    """One of these values."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            raise ValueError(
                f"{_field(instance, attribute)}must be one of {', '.join(map(repr, choices))}, not {value!r}"
            )

    return validate


def instance_of(kind: type[Any]) -> Validator:
    """A value of this class."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, kind):
            wanted = f"a wmtp.{kind.__name__}" if attrs.has(kind) else f"a {kind.__name__}"
            raise TypeError(f"{_field(instance, attribute)}must be {wanted}, not {value!r}")

    return validate


def at_most(high: float) -> Validator:
    """Beside another validator: numbers to `high`."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, int | float) and value > high:
            raise ValueError(f"{_field(instance, attribute)}must be at most {high}, not {value}")

    return validate


def text(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Text that is not empty."""
    any_text(instance, attribute, value)
    if not value:
        raise ValueError(f"{_field(instance, attribute)}must not be empty")


def any_text(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Text, which may be empty."""
    if not isinstance(value, str):
        raise TypeError(f"{_field(instance, attribute)}must be text, not {value!r}")


def as_tuple(value: Any) -> Any:
    """Converter: a list becomes a tuple, so that a frozen record cannot change. Anything else is left to the validator."""
    return tuple(value) if isinstance(value, list) else value


def text_tuple(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A tuple of texts. One text alone would be read letter by letter, so it is refused."""
    if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
        hint = f"; write ({value!r},)" if isinstance(value, str) else ""
        raise TypeError(f"{_field(instance, attribute)}must be a tuple of texts, not {value!r}{hint}")


def stop_texts(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Texts that end a completion, none of them empty."""
    text_tuple(instance, attribute, value)
    if "" in value:
        raise ValueError(f"{_field(instance, attribute)}holds an empty text, which every completion contains")


def turns(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The turns of a chat, at least one that says something."""
    field = _field(instance, attribute) or "the chat "
    if not isinstance(value, tuple) or not all(isinstance(turn, Mapping) for turn in value):
        raise TypeError(f"{field}must be turns like {{'role': 'user', 'content': '…'}}, not {value!r}")
    for turn in value:
        if not all(isinstance(turn.get(key), str) for key in ("role", "content")):
            raise TypeError(f"{field}holds {turn!r}: a turn has a 'role' and a 'content', both of them text")
    if not any(turn["content"] for turn in value):
        raise ValueError(f"{field}must be a tuple of at least one message that says something")


def finite(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A number that JSON can hold, or ``None``."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{_field(instance, attribute)}must be a number or None, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{_field(instance, attribute)}must be a finite number, not {value}")


def mapping(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{_field(instance, attribute)}must be a mapping, not {value!r}")


def named_values(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A mapping whose keys are texts."""
    if type(value) is dict and not value:
        return  # as nearly always
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{_field(instance, attribute)}must be a mapping of texts to values, not {value!r}")


def values_of(kind: type[Any]) -> Validator:
    """Mappings whose keys are texts and whose values are of one class."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        named_values(instance, attribute, value)
        for name, item in value.items():
            if not isinstance(item, kind):
                wanted = f"wmtp.{kind.__name__}" if attrs.has(kind) else kind.__name__
                raise TypeError(f"{_field(instance, attribute)}has {item!r} for {name!r}, not a {wanted}")

    return validate
