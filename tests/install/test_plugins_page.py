"""docs/plugins.md, followed word for word: in a fresh environment with only the wheels of core and the sample plugin."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.M | re.S)
QUOTE = re.compile(r'^--8<-- "([^":]+)(?::(\w+))?"$', re.M)


def test_every_block_is_a_file_a_command_or_a_quotation() -> None:
    strange = [
        body for kind, title, body in FENCE.findall(PAGE) if not title and kind != "sh" and not QUOTE.match(body)
    ]
    assert strange == []


@pytest.mark.parametrize(("path", "section"), QUOTE.findall(PAGE))
def test_quotations_are_there(path: str, section: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    for edge in ("start", "end") if section else ():
        assert f"# --8<-- [{edge}:{section}]" in text


def test_the_sample_plugin_is_small() -> None:
    files = (ROOT / "packages/wmtp-sample-plugin/src").rglob("*.py")
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) < 150


def test_the_page_word_for_word(installation, warehouse, tmp_path: Path, run) -> None:
    where = installation("wmtp-sample-plugin")
    pip_target = next(Path(where.python).parent.parent.glob("lib/python*/site-packages"))
    for kind, title, body in FENCE.findall(PAGE):
        if title:
            inside = title.startswith("wmtp_puzzles/") or title == "pyproject.toml"
            file = tmp_path / ("wmtp-puzzles" if inside else ".") / title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(body, encoding="utf-8")
            continue
        if kind != "sh":
            continue
        for line in body.splitlines():
            program, *arguments = shlex.split(line)
            if program == "pip":
                done = where.pip(*arguments, cwd=tmp_path)
            else:
                done = run(where.python, "-m", program, *arguments, cwd=tmp_path)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            if line == "wmtp metrics":
                assert "puzzles_pass@" in done.stdout
    results = json.loads((tmp_path / "runs/puzzles/results.json").read_text(encoding="utf-8"))
    assert results["metrics"]["puzzles_pass@1"]["value"] == 1.0
    assert pip_target.is_dir()
