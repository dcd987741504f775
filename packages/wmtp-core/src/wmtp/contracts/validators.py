"""Validators of records' fields. A fault is raised where the record is made: at its author's own line.

Each takes attrs' three arguments. The message names record, field and value, and says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from wmtp.contracts.values import as_tuple as as_tuple
from wmtp.contracts.values import one_of as one_of

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]
_IDENTIFIER = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*"
)  # it becomes a file name, a key in YAML, a word of a command line
_METRIC = re.compile(r"[^\s{}/]*(\{k\})?[^\s{}/]*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def at_least(low: float, *, above: bool = False, high: float | None = None) -> Validator:
    """Numbers from `low` (or above it) to `high`; ``None`` and the text ``auto`` pass, where the type lets them."""
    bound = f"{'above' if above else 'at least'} {low}" + (f" and at most {high}" if high is not None else "")

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None or isinstance(value, str):
            return
        if not (value > low if above else value >= low) or not (high is None or value <= high):
            raise ValueError(f"must be {bound}, not {value}")

    return validate


def _fault(instance: Any, attribute: attrs.Attribute[Any], value: Any, wanted: str) -> TypeError:
    return TypeError(f"{type(instance).__name__}.{attribute.name} is {value!r}; {wanted}")


def identifier(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A name that users write."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise _fault(instance, attribute, value, "letters, digits, '.', '_' and '-' only")


def one_line(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A summary, as listings show it."""
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) != 1 or "\t" in value:
        raise _fault(instance, attribute, value, "one line of text")


def optional_text(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise _fault(instance, attribute, value, "a string, or None")


def true_or_false(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise _fault(instance, attribute, value, "true or false")


def texts(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A tuple of strings, none of them empty. A text alone is refused: its characters are meant by nobody."""
    if isinstance(value, str):
        raise _fault(instance, attribute, value, f"a tuple of strings: ({value!r},)")
    if not isinstance(value, tuple) or not all(isinstance(v, str) and v for v in value):
        raise _fault(instance, attribute, value, "a tuple of strings")


def metric_templates(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Metrics' names; ``{k}`` in one stands for a positive integer."""
    texts(instance, attribute, value)
    for template in value:
        if not _METRIC.fullmatch(template):
            raise TypeError(
                f"{type(instance).__name__}.{attribute.name} holds {template!r}; no spaces or slashes, and no braces but "
                "one {k}"
            )


def texts_by_metric(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """One of the record's own metrics → some text."""
    if not isinstance(value, Mapping) or not all(isinstance(v, str) and v.strip() for v in value.values()):
        raise _fault(instance, attribute, value, "a mapping of metrics to text")
    if foreign := sorted(map(str, set(value) - set(instance.metrics))):
        raise TypeError(
            f"{type(instance).__name__}.{attribute.name} holds {foreign[0]!r}, which is none of the metrics"
        )


def some_metrics(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Some of the record's own metrics."""
    texts(instance, attribute, value)
    texts_by_metric(instance, attribute, dict.fromkeys(value, "on request"))


def factory(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        raise _fault(instance, attribute, value, "something that can be called")


def optional_factory(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        factory(instance, attribute, value)


def attrs_class(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The class that structures settings."""
    if not (isinstance(value, type) and attrs.has(value)):
        raise _fault(instance, attribute, value, "an attrs class")


def optional_attrs_class(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, type) and attrs.has(value)):
        raise _fault(instance, attribute, value, "an attrs class, or None")


def import_target(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Where something is imported from, when it is needed: ``package.module:attribute``."""
    if not isinstance(value, str) or not _TARGET.fullmatch(value):
        raise _fault(instance, attribute, value, "'module:attribute', like 'my_plugin.commands:hello'")


def optional_import_target(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The same, or ``""`` for none."""
    if value != "":
        import_target(instance, attribute, value)
