"""For authors of benchmarks: rows from files, programs out of answers, prompt forms. Public; needs no torch.

Rows: `read_rows`, `RowFile`. Answers: `extract`, `Wanted`, `Extraction`, `cut_at_stop`. Asking: `PromptForm` and its forms,
`competition_prompt`,
`LateCases`.
For engines: `rendered` and `encoded`, a prompt as the model's tokenizer has it; `opened_by`, `thinking_tokens`.
Scores: `pass_at_k`, `without_known_bad`, `PartialCredit`, `share_of_tests`.
"""

from __future__ import annotations

from wmtp.kit.competition import LateCases, competition_prompt
from wmtp.kit.extraction import extract
from wmtp.kit.files import files_of_split
from wmtp.kit.prompts import ChatSettings, PromptForm, bare_completion, chat, cut_at_stop, few_shot
from wmtp.kit.python import called_names, parse
from wmtp.kit.rows import Row, RowFile, check_fields, read_rows
from wmtp.kit.scores import TESTS_PASSED, PartialCredit, pass_at_k, share_of_tests, without_known_bad
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
    "opened_by",
    "parse",
    "pass_at_k",
    "raised",
    "read_rows",
    "rendered",
    "share_of_tests",
    "split_thinking",
    "thinking_tokens",
    "without_known_bad",
]
