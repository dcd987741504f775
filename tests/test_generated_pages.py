"""Every page that a script writes is what the script would write now."""

from __future__ import annotations

import re
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


def test_the_api_page_has_every_public_name() -> None:
    import wmtp
    import wmtp.kit
    import wmtp.testing
    import wmtp.weighting

    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    rooms = (wmtp, wmtp.kit, wmtp.weighting, wmtp.testing)
    assert [name for room in rooms for name in room.__all__ if f"| `{name}` | " not in text] == []


def test_every_path_that_the_page_of_changes_names_is_there() -> None:
    text = (ROOT / "docs/changes.md").read_text(encoding="utf-8")
    paths = {found for found in re.findall(r"`([\w./-]+)`", text) if "/" in found or found.endswith(".py")}
    homes = (ROOT, ROOT / "packages/wmtp-core/src/wmtp", ROOT / "packages/wmtp-core/tests")
    assert len(paths) > 30
    assert sorted(p for p in paths if not any((home / p).exists() for home in homes)) == []


def test_every_path_that_a_page_or_a_target_names_is_there() -> None:
    named = re.compile(
        r"(?<![\w/}$.-])(?:packages|tests|scripts|benchmarks|docs|examples|findings)/[\w./-]+\.(?:py|md|ya?ml|sh|json|c)\b"
    )
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")]
    sources = [
        *pages,
        *(ROOT / name for name in ("Makefile", "mutants.toml", "CONTRIBUTING.md", "README.md", ".ci/run")),
    ]
    found = {(s.name, path) for s in sources for path in named.findall(s.read_text(encoding="utf-8"))}
    assert len(found) > 30
    assert sorted((s, path) for s, path in found if not (ROOT / path).exists()) == []
