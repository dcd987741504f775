"""The pytest plugin that wmtp-core installs: fixtures for plugin authors. Imports late, since every pytest loads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wmtp.plugins import Plugins


@pytest.fixture
def wmtp_plugins() -> Callable[..., Plugins]:
    """A plugin manager with core and just the plugins that the test names: ``wmtp_plugins(my_plugin.plugin)``."""

    def make(*plugins: Any) -> Plugins:
        from wmtp.plugins import create_plugin_manager

        return create_plugin_manager(plugins=plugins, entry_points=False)

    return make


@pytest.fixture
def wmtp_run(tmp_path: Path) -> Callable[..., Any]:
    """Runs a recipe in a run directory of the test's own: ``wmtp_run(recipe, *plugins, config={…})`` → `wmtp.Results`."""

    def run(recipe: dict[str, Any], *plugins: Any, config: dict[str, Any] | None = None) -> Any:
        from wmtp.config import load_config, load_recipe
        from wmtp.evaluation.driver import evaluate
        from wmtp.plugins import create_plugin_manager

        manager = create_plugin_manager(plugins=plugins, entry_points=False)
        record = load_config(config or {"judging": {"level": "auto", "workers": 1}}, plugins=manager)
        structured = load_recipe(recipe, plugins=manager)
        return evaluate(record, structured, plugins=manager, runs=tmp_path / "runs")

    return run
