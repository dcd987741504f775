"""What is true of the house as a whole."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_nothing_stands_in_our_sources_that_nobody_names() -> None:
    """Functions and classes of modules, but for what a decorator hands over; the public rooms' are named in docs/api.md."""
    sources = list(ROOT.glob("packages/*/src/**/*.py"))
    naming = [
        *sources,
        *ROOT.glob("packages/*/pyproject.toml"),
        *ROOT.glob("packages/*/tests/**/*.py"),
        ROOT / "docs/api.md",
    ]
    naming += [
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("benchmarks/*.py"),
        *ROOT.glob("scripts/*.py"),
        *ROOT.glob("examples/*.py"),
    ]
    words: Counter[str] = Counter()
    for file in naming:
        words.update(re.findall(r"\w+", file.read_text(encoding="utf-8")))
    made = re.compile(r"(?:^|\n)(?!@)[^\n]*\n(?:def|class) (?!__|Test)(\w+)")
    found = {name for file in sources for name in made.findall(file.read_text(encoding="utf-8"))}
    assert len(found) > 1000
    assert sorted(name for name in found if words[name] == 1) == []
