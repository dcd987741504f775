"""pluggy's two markers under the project's name: of what a hook is, and of what implements one."""

from __future__ import annotations

import pluggy

hookspec = pluggy.HookspecMarker("wmtp")
hookimpl = pluggy.HookimplMarker("wmtp")
