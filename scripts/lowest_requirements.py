"""Prints the lowest version of each direct dependency that our packages allow, one ``name==version`` a line.

    python scripts/lowest_requirements.py > lowest.txt

pip has no lowest-direct resolution; what a floor promises is tried with this list (``make lowest``). torch is left out: its old
wheels are gigabytes, and its floor is tried where there is a disk for it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOOR = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(\[[^]]*\])?\s*>=\s*(?P<version>[0-9.]+)")
LEFT_OUT = {"torch"}


def floors() -> dict[str, str]:
    """Distribution → the highest floor that any of our packages states."""
    found: dict[str, str] = {}
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {})
        for text in [*project.get("dependencies", []), *(d for group in extras.values() for d in group)]:
            match = FLOOR.match(text)
            if match is None or match["name"].startswith("wmtp-") or match["name"] in LEFT_OUT:
                continue
            found[match["name"]] = max(found.get(match["name"], "0"), match["version"], key=_parts)
    return found


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(floors().items()))
