"""How a benchmark ends: what missed its limit, told and made an exit status, and lines kept for whoever plots them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def missed_limits(missed: Sequence[str]) -> int:
    """Prints each. Returns the exit status."""
    for line in missed:
        print(f"MISSED: {line}")
    return int(bool(missed))


def beyond_limits(found: Sequence[Any], wrong: Sequence[str], what: str, path: Path | None) -> int:
    """Says how many of `found`, which are called `what`, are wrong and which, and writes all to `path` where one is given.

    Returns the exit status.
    """
    if path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} {what}, {len(wrong)} beyond their limits" + "".join(f"\n  {cell}" for cell in wrong))
    return int(bool(wrong))
