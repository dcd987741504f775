"""What the user writes: config and recipe, structured strictly, with key paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmtp.config.load import load_config as load_config
    from wmtp.config.load import load_configuration as load_configuration
    from wmtp.config.load import load_environment as load_environment
    from wmtp.config.load import load_recipe as load_recipe
    from wmtp.config.load import load_section as load_section

__all__ = ["load_config", "load_configuration", "load_environment", "load_recipe", "load_section"]


def __getattr__(name: str) -> Any:
    # Late: core's plugin names the records as sections of its own, and listing plugins must not load what reads YAML.
    if name not in __all__:
        raise AttributeError(f"module 'wmtp.config' has no attribute {name!r}")
    from wmtp.config import load

    return getattr(load, name)
