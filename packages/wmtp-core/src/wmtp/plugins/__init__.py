"""Finding, checking, blocking and listing plugins; who provides what; and what happens when two claim one name.

A manager comes from `create_plugin_manager`: nothing is loaded at import, and there is no global registry to undo.
"""

from __future__ import annotations

from wmtp.contracts.catalog import MetricOwner, Registered
from wmtp.plugins.loading import create_plugin_manager
from wmtp.plugins.manager import Plugins
from wmtp.plugins.registry import PluginInfo, Registry

__all__ = ["MetricOwner", "PluginInfo", "Plugins", "Registered", "Registry", "create_plugin_manager"]
