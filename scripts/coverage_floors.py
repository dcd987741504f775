"""Holds the branch coverage of the rooms where a line that no test runs is a number nobody checked.

    python scripts/coverage_floors.py .cache/coverage.json

Code that runs only inside the sandbox's children is not measured: no measuring tool gets in there. That is why judging's floor
is lower; tests/hostile is its other half.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Measured on 2026-11-28 at 86115d1: evaluation 86.2, judging 53.1, runs 94.4. Each floor lies about two points below. Of
# evaluation, score.py and requests.py run in commands of their own process, which is not measured.
FLOORS = {"evaluation": 84.0, "judging": 51.0, "runs": 92.0}


def covered(report: Path, room: str) -> float:
    """Percent of a room's statements and branches that ran."""
    ran = wanted = 0
    for name, found in json.loads(report.read_text(encoding="utf-8"))["files"].items():
        if f"/wmtp/{room}/" in f"/{name}":
            total = found["summary"]
            ran += total["covered_lines"] + total["covered_branches"]
            wanted += total["num_statements"] + total["num_branches"]
    if not wanted:
        raise SystemExit(f"{report} measures no file of wmtp/{room}/; was the room renamed?")
    return 100 * ran / wanted


def main() -> int:
    """Prints each room beside its floor. Exit status 1 if one is below."""
    report = Path(sys.argv[1])
    missed = 0
    for room, floor in FLOORS.items():
        percent = covered(report, room)
        missed |= percent < floor
        print(
            f"{room:<12} {percent:5.1f} % of lines and branches, floor {floor:.0f} %{'' if percent >= floor else '  MISSED'}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
