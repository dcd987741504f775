"""Core's own plugin: local storage, the loaders that come with core, the meta-mtp evaluator and the scorers.

It is registered like anyone else's; only its name is known to the plugin manager.
"""

from __future__ import annotations
