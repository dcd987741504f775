"""The `wmtp` command. Thin: each command imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    raise SystemExit("wmtp: the command line is not wired up yet")
