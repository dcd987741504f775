"""For authors of benchmarks: rows from files, programs out of answers, prompt forms. Public; needs no torch.

Rows: `read_rows`, `RowFile`. Answers: `extract`, `Wanted`, `Extraction`, `cut_at_stop`. Asking: `PromptForm` and its forms.
"""

from __future__ import annotations

from wmtp.kit.extraction import RULES, Extraction, Wanted, extract
from wmtp.kit.files import files_of_split
from wmtp.kit.python import called_names
from wmtp.kit.rows import Row, RowFile, check_fields, read_rows
from wmtp.kit.thinking import FAMILIES, Marks, split_thinking

__all__ = [
    "FAMILIES",
    "RULES",
    "Extraction",
    "Marks",
    "Row",
    "RowFile",
    "Wanted",
    "called_names",
    "check_fields",
    "extract",
    "files_of_split",
    "read_rows",
    "split_thinking",
]
