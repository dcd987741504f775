"""What no program could help, since the reference solution ends in the same way, is no program's fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wmtp.evaluation.score import score

POINT = "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\ndef point(x):\n    return Point(x)\n"
PLAIN = "def point(x):\n    return (x,)\n"


def scored(folder: Path, reference: str, program: str, test: str) -> dict[str, Any]:
    row = {
        "task_id": 11, "text": "Make a point.", "code": reference, "test_list": [test], "test_setup_code": "",
        "challenge_test_list": [],
    }  # fmt: skip
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    sample = {"problem": "11", "index": 0, "completion": program}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n", encoding="utf-8")
    results = score(folder / "samples.jsonl", "mbpp", data=folder / "rows.jsonl", runs=folder / "runs", fresh=True)
    return {"counts": dict(results.record.verdicts["mbpp-v1"]), "notes": results.record.notes.get("mbpp-v1", ())}


def test_an_end_that_the_reference_has_too_is_infrastructure(tmp_path: Path) -> None:
    found = scored(tmp_path, POINT, POINT.replace("Point", "Place"), "assert point(1) == point(1)")
    assert found["counts"] == {"infrastructure": 1}
    assert "the reference solution ends in the same way" in found["notes"][0]


def test_where_the_reference_gives_plain_data_an_object_is_a_wrong_answer(tmp_path: Path) -> None:
    assert scored(tmp_path, PLAIN, POINT, "assert point(1) == (1,)")["counts"] == {"failed": 1}
    assert scored(tmp_path, PLAIN, POINT, "assert point(1) == point(1)")["counts"] == {"failed": 1}
