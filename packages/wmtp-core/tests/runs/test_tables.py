"""Files of one evaluator that are replaced at once."""

from __future__ import annotations

import json
from pathlib import Path

from wmtp.runs.tables import add_prompts


def test_prompts_with_line_ends_of_unicode_stay_when_others_come(tmp_path: Path) -> None:
    first = {"a": "one\u2028two\u0085three", "b": "plain"}
    add_prompts(tmp_path, "e", first)
    add_prompts(tmp_path, "e", {"b": "shorter"})
    lines = (tmp_path / "prompts/e.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert {row["problem"]: row["prompt"] for row in map(json.loads, lines)} == first | {"b": "shorter"}
