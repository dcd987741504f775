"""Holds the branch coverage of the rooms where a line that no test runs is a number nobody checked.

    python scripts/coverage_floors.py .cache/coverage.json

Of judging only what runs in the command's own process is counted: the judge, its host side and the wire. The checker and the
sandbox run in children behind walls, where no measuring tool gets in. Counted with them, the share fell whenever a wall was
added, whatever the tests did; tests/hostile and the mutants are what holds those two.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Measured on 2026-11-28 at becf767: evaluation 89.4, judging 91.1, runs 96.2. Each floor lies about two points below. Of
# evaluation, score.py and requests.py run in commands of their own process, which is not measured.
FLOORS = {"evaluation": 87.0, "judging": 89.0, "runs": 94.0}
MEASURED = {
    "evaluation": ("evaluation/",),
    "judging": ("judging/judge.py", "judging/further.py", "judging/host/", "judging/wire/"),
    "runs": ("runs/",),
}


def covered(report: Path, room: str) -> float:
    """Percent of a room's statements and branches that ran."""
    ran = wanted = 0
    for name, found in json.loads(report.read_text(encoding="utf-8"))["files"].items():
        if any(f"/wmtp/{part}" in f"/{name}" for part in MEASURED[room]):
            total = found["summary"]
            ran += total["covered_lines"] + total["covered_branches"]
            wanted += total["num_statements"] + total["num_branches"]
    if not wanted:
        raise SystemExit(f"{report} measures nothing of {', '.join(MEASURED[room])} in wmtp/; was the room renamed?")
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
