"""For authors of benchmarks: rows from files, programs out of answers, prompt forms. Public; needs no torch.

Rows: `read_rows`, `RowFile`, `pickled_text`. Answers: `extract`, `Wanted`, `Extraction`, `cut_at_stop`.
Asking: `PromptForm` and its forms, `competition_prompt`, `LateCases`.
For engines: `rendered` and `encoded`, a prompt as the model's tokenizer has it; `opened_by`, `thinking_tokens`.
Tests: `reference_answers`, `near`. Hooks: `late`, `late_benchmark`.
Scores: `pass_at_k`, `without_known_bad`, `PartialCredit`, `share_of_tests`, `same_program`, `table_by_group`.
"""

from __future__ import annotations

from wmtp.kit import near
from wmtp.kit.competition import LateCases, competition_prompt
from wmtp.kit.extraction import extract
from wmtp.kit.files import files_of_split
from wmtp.kit.late import late, late_benchmark
from wmtp.kit.pickles import pickled_text
from wmtp.kit.prompts import ChatSettings, PromptForm, bare_completion, chat, cut_at_stop, few_shot
from wmtp.kit.python import called_names, parse
from wmtp.kit.reference import ReferenceAnswers, reference_answers
from wmtp.kit.rows import Row, RowFile, check_fields, read_rows
from wmtp.kit.same_program import same_program
from wmtp.kit.scores import (
    TESTS_PASSED,
    PartialCredit,
    head_metrics,
    pass_at_k,
    share_of_tests,
    table_by_group,
    without_known_bad,
)
from wmtp.kit.spreading import Spread
from wmtp.kit.thinking import FAMILIES, Marks, opened_by, split_thinking
from wmtp.kit.tokenizing import encoded, rendered, thinking_tokens
from wmtp.kit.wanted import RULES, Extraction, Wanted
from wmtp.kit.workers import EngineStream, Taken, WorkerFacts, WorkerLostError, raised

__all__ = [
    "FAMILIES",
    "RULES",
    "TESTS_PASSED",
    "ChatSettings",
    "EngineStream",
    "Extraction",
    "LateCases",
    "Marks",
    "PartialCredit",
    "PromptForm",
    "ReferenceAnswers",
    "Row",
    "RowFile",
    "Spread",
    "Taken",
    "Wanted",
    "WorkerFacts",
    "WorkerLostError",
    "bare_completion",
    "called_names",
    "chat",
    "check_fields",
    "competition_prompt",
    "cut_at_stop",
    "encoded",
    "extract",
    "few_shot",
    "files_of_split",
    "head_metrics",
    "late",
    "late_benchmark",
    "near",
    "opened_by",
    "parse",
    "pass_at_k",
    "pickled_text",
    "raised",
    "read_rows",
    "reference_answers",
    "rendered",
    "same_program",
    "share_of_tests",
    "split_thinking",
    "table_by_group",
    "thinking_tokens",
    "without_known_bad",
]
