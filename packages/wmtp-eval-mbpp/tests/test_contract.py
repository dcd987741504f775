"""mbpp-v1 against the contract that every evaluator is held to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import wmtp_eval_mbpp.plugin
from wmtp.testing import EvaluatorContract


def row(number: int) -> dict[str, Any]:
    return {
        "task_id": number, "text": f"Add {number}.", "code": f"def add(x):\n    return x + {number}",
        "test_list": [f"assert add(1) == {number + 1}"], "test_setup_code": "", "challenge_test_list": [],
    }  # fmt: skip


class TestMbpp(EvaluatorContract):
    plugin = wmtp_eval_mbpp.plugin
    evaluator = "mbpp-v1"
    settings: ClassVar[Mapping[str, Any]] = {"shots": 0}

    def config(self, folder: Path) -> dict[str, Any]:
        data = folder.parent / f"{folder.name}.jsonl"
        data.write_text("".join(json.dumps(row(number)) + "\n" for number in (11, 12)), encoding="utf-8")
        return {**super().config(folder), "paths": {"datasets": {"mbpp_local": str(data)}}}
