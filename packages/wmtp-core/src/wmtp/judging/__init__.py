"""Running model-written code where it can do no harm, and saying how it ended.

`open_judge` is the way in. The modules that run inside the sandbox (`codec`, `lockdown`, `seccomp`, `zygote`,
`candidate`) use the standard library only: they are loaded by a bare interpreter without site-packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmtp.judging.host.doctor import checks as checks
    from wmtp.judging.judge import JUDGE_VERSION as JUDGE_VERSION
    from wmtp.judging.judge import open_judge as open_judge

__all__ = ["JUDGE_VERSION", "checks", "open_judge"]


def __getattr__(name: str) -> Any:
    # Lazy, because the sandboxed interpreter imports this package without attrs on its path.
    if name == "checks":
        from wmtp.judging.host.doctor import checks

        return checks
    if name in ("JUDGE_VERSION", "open_judge"):
        from wmtp.judging import judge

        return getattr(judge, name)
    raise AttributeError(f"module 'wmtp.judging' has no attribute {name!r}")
