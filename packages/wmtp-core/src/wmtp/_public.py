"""Where the names of the public API live, as `__init__.pyi` says."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


@cache
def _stub() -> tuple[dict[str, str], list[str]]:
    """Name → module, and ``__all__``, out of the stub: what type checkers see and what runs cannot differ."""
    homes: dict[str, str] = {}
    exported: list[str] = []
    for node in ast.parse(Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.name: f"wmtp.{node.module}" for alias in node.names}
        elif isinstance(node, ast.Assign):
            exported = ast.literal_eval(node.value)
    return homes, exported


def resolve(name: str) -> Any:
    """The object behind a public name. Raises AttributeError where there is none."""
    homes, exported = _stub()
    if name == "__all__":
        return exported
    if name not in homes:
        raise AttributeError(f"module 'wmtp' has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def names() -> list[str]:
    """Every public name, sorted."""
    homes, _ = _stub()
    return sorted([*homes, "__version__"])
