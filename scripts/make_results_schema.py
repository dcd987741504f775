"""Writes docs/results.schema.json, the JSON schema of results.json; ``--check`` only says whether it is stale."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from wmtp.runs.record import schema

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results.schema.json"


def main() -> int:
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/results.schema.json is stale; run python scripts/make_results_schema.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
