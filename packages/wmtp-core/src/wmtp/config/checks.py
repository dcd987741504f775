"""Validators of the records' fields. They run when a file is read and when a record is made in Python."""

from __future__ import annotations

import re
from typing import Any

import attrs

from wmtp.config.sizes import parse_size

_DEVICE = re.compile(r"auto|balanced|cpu|mps|cuda(:\d{1,3})?")
_RUN_NAME_CHARACTER = re.compile(r"[\w.+=@-]")
_LONGEST_RUN_NAME = 200


def device(instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    """One of torch's names for a device that models run on. Whether this machine has it is seen when one is loaded."""
    if not _DEVICE.fullmatch(value):
        raise ValueError(f"must be auto, balanced, cpu, mps, cuda or cuda:N, not {value!r}")


def run_name(instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    """A run's name is a folder's name."""
    rule = "names a folder: letters, digits and _ . + = @ -, a letter or digit first"
    if not value:
        raise ValueError(f"{rule}; it is empty")
    if wrong := [c for c in value if not _RUN_NAME_CHARACTER.fullmatch(c)]:
        raise ValueError(f"{rule}; {value!r} holds {', '.join(map(repr, dict.fromkeys(wrong)))}")
    if not re.match(r"\w", value):
        raise ValueError(f"{rule}; {value!r} starts with {value[0]!r}")
    if len(value) > _LONGEST_RUN_NAME:
        raise ValueError(f"{rule}, at most {_LONGEST_RUN_NAME} of them; it has {len(value)}")


def size(instance: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """An amount of bytes: ``500M``, ``20G``."""
    if value is not None:
        parse_size(value)
