"""Every page that a script writes is what the script would write now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


SLOW = ("make_models_page",)  # decodes with a model of every type
SCRIPTS = [
    pytest.param(path, marks=[pytest.mark.slow] if path.stem in SLOW else [], id=path.stem)
    for path in sorted(ROOT.glob("scripts/make_*.py"))
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_generated_page_is_up_to_date(script: Path) -> None:
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_change_fragment_has_a_known_type() -> None:
    types = {"breaking", "added", "changed", "fixed"}
    fragments = [p for p in (ROOT / "changelog.d").glob("*.md") if p.name != "README.md"]
    wrong = [p.name for p in fragments if len(p.name.split(".")) != 3 or p.name.split(".")[1] not in types]
    assert not wrong, f"changelog.d/{wrong[0]}: name it <issue or +topic>.<breaking|added|changed|fixed>.md"
