"""What the user writes: environment and recipe, structured strictly, with key paths."""

from __future__ import annotations

from wmtp.config.load import load_configuration, load_environment, load_recipe, load_section

__all__ = ["load_configuration", "load_environment", "load_recipe", "load_section"]
