"""codecontests-v1 against the contract that every evaluator is held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import wmtp_eval_codecontests.plugin
from wmtp.testing import EvaluatorContract


def row(number: int) -> dict[str, Any]:
    return {
        "name": f"add {number}", "description": f"Add {number}.", "source": 2, "difficulty": 1,
        "public_tests": {"input": ["1\n"], "output": [f"{number + 1}\n"]},
        "private_tests": {"input": [], "output": []}, "generated_tests": {"input": [], "output": []},
        "solutions": {"language": [3], "solution": [f"print(int(input()) + {number})"]},
        "incorrect_solutions": {"language": [], "solution": []},
        "time_limit": None, "memory_limit_bytes": 0, "input_file": "", "output_file": "",
    }  # fmt: skip


class TestCodeContests(EvaluatorContract):
    plugin = wmtp_eval_codecontests.plugin
    evaluator = "codecontests-v1"

    def config(self, folder: Path) -> dict[str, Any]:
        data = folder.parent / f"{folder.name}.jsonl"
        data.write_text("".join(json.dumps(row(number)) + "\n" for number in (1, 2)), encoding="utf-8")
        return {**super().config(folder), "paths": {"datasets": {"contest_local": str(data)}}}
