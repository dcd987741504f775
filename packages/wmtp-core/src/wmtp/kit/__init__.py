"""For authors of benchmarks: rows from files, programs out of answers, prompt forms. Public; needs no torch.

Rows: `split_files`, `read_rows`, `RowFile`, `LateRow`, `packed_bytes`, `pickled_text`, `assigned`, `tested_function`.
Asking: `PromptForm` and its forms, `competition_prompt`, `DateWindow`. Answers: `extract`, `Wanted`, `cut_at_stop`.
For engines: `InBatches`, completions that come together; `rendered` and `encoded`, a prompt as the model's tokenizer has it;
`opened_by`, `thinking_tokens`; `context_of`, how many positions a model takes.
Tests: `competition_calls`, `LateCases`, `reference_tests`, `near`. Hooks: `late`, `late_benchmark`.
Scores: `pass_at_k`, `without_known_bad`, `PartialCredit`, `share_of_tests`, `same_program`, `table_by_group`.
"""

from __future__ import annotations

from wmtp.kit import near
from wmtp.kit.assertions import assigned, can_fail, tested_function
from wmtp.kit.batches import InBatches
from wmtp.kit.competition import (
    LateCases,
    check_file_names,
    competition_calls,
    competition_prompt,
    competition_wanted,
    function_name,
    seconds_of,
)
from wmtp.kit.contexts import context_of
from wmtp.kit.dates import DateWindow
from wmtp.kit.extraction import extract
from wmtp.kit.files import files_of_split, split_files
from wmtp.kit.late import late, late_benchmark
from wmtp.kit.late_row import LateRow
from wmtp.kit.pickles import packed_bytes, pickled_text
from wmtp.kit.prompts import ChatSettings, PromptForm, bare_completion, chat, cut_at_stop, few_shot
from wmtp.kit.python import called_names, defined_names, parse
from wmtp.kit.reference import ReferenceAnswers, ReferenceLimits, reference_answers, reference_tests
from wmtp.kit.rows import Row, RowFile, check_fields, read_rows, row_faults
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
    "DateWindow",
    "EngineStream",
    "Extraction",
    "InBatches",
    "LateCases",
    "LateRow",
    "Marks",
    "PartialCredit",
    "PromptForm",
    "ReferenceAnswers",
    "ReferenceLimits",
    "Row",
    "RowFile",
    "Spread",
    "Taken",
    "Wanted",
    "WorkerFacts",
    "WorkerLostError",
    "assigned",
    "bare_completion",
    "called_names",
    "can_fail",
    "chat",
    "check_fields",
    "check_file_names",
    "competition_calls",
    "competition_prompt",
    "competition_wanted",
    "context_of",
    "cut_at_stop",
    "defined_names",
    "encoded",
    "extract",
    "few_shot",
    "files_of_split",
    "function_name",
    "head_metrics",
    "late",
    "late_benchmark",
    "near",
    "opened_by",
    "packed_bytes",
    "parse",
    "pass_at_k",
    "pickled_text",
    "raised",
    "read_rows",
    "reference_answers",
    "reference_tests",
    "rendered",
    "row_faults",
    "same_program",
    "seconds_of",
    "share_of_tests",
    "split_files",
    "split_thinking",
    "table_by_group",
    "tested_function",
    "thinking_tokens",
    "without_known_bad",
]
