"""humaneval-plus-v1 and mbpp-plus-v1 against the contract that every evaluator is held to, on rows of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wmtp_eval_evalplus.plugin
from wmtp.testing import EvaluatorContract

ROWS = Path(__file__).with_name("rows")


class TestHumanEvalPlus(EvaluatorContract):
    plugin = wmtp_eval_evalplus.plugin
    evaluator = "humaneval-plus-v1"

    def config(self, folder: Path) -> dict[str, Any]:
        return {**super().config(folder), "paths": {"datasets": {"humaneval_plus_local": str(ROWS)}}}


class TestMbppPlus(EvaluatorContract):
    plugin = wmtp_eval_evalplus.plugin
    evaluator = "mbpp-plus-v1"

    def config(self, folder: Path) -> dict[str, Any]:
        return {**super().config(folder), "paths": {"datasets": {"mbpp_plus_local": str(ROWS)}}}
