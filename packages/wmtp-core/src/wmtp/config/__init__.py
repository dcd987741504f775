"""What the user writes: config and recipe, structured strictly, with key paths."""

from __future__ import annotations

from wmtp.config.load import load_config, load_configuration, load_recipe, load_section

__all__ = ["load_config", "load_configuration", "load_recipe", "load_section"]
