"""WMTP: evaluation of multi-token-prediction code models.

This module is the public API; `__init__.pyi` beside it lists every name. Names are resolved on first use, so that
``import wmtp`` costs nothing: no torch, no transformers, not even the configuration machinery is loaded until it is asked for.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if (
        name.startswith("__") and name != "__all__"
    ):  # whoever looks at modules (inspect, doctest) asks for many of these
        raise AttributeError(f"module 'wmtp' has no attribute {name!r}")
    from wmtp._public import resolve

    value = resolve(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from wmtp._public import names

    return names()
