"""JSON that is nested too deeply is refused like any other that cannot be read, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wmtp.errors import WmtpError
from wmtp.generation.replay import SamplesEngine
from wmtp.kit import read_rows
from wmtp.models.causal import check_config
from wmtp.models.meta import read_params
from wmtp.runs.folder import read_object
from wmtp.runs.lines import SAMPLES, json_lines, read_lines

DEEP = "[" * 200_000

READERS: dict[str, Callable[[Path], Any]] = {
    "samples": SamplesEngine,
    "rows": lambda path: list(read_rows([path])),
    "lines": lambda path: list(read_lines(path, SAMPLES)),
    "json lines": lambda path: list(json_lines(path)),
    "an object of a run": read_object,
    "config.json": lambda path: check_config(path.parent),
    "params.json": lambda path: read_params(path.parent, 1),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("text", [DEEP, '{"a":' * 200_000, '{"task_id": "1", "completion": ' + DEEP])
def test_deep_json_is_refused_by_every_reader(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / {"config.json": "config.json", "params.json": "params.json"}.get(name, "file.jsonl")
    path.write_text(text + "\n")
    with pytest.raises(WmtpError, match="nested too deep"):
        READERS[name](path)
