"""What a release rests on: versions in step, metadata complete, and one command that moves all of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = sorted(ROOT.glob("packages/*/pyproject.toml"))


def set_version(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts/set_version.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that state versions, copied so that a test may rewrite them."""
    for path in [*PROJECTS, ROOT / "scripts/set_version.py", ROOT / "packages/wmtp-core/src/wmtp/__init__.py"]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def test_versions_are_in_step() -> None:
    done = set_version(ROOT, "--check")
    assert done.returncode == 0, done.stdout


def test_one_command_moves_every_version(copy: Path) -> None:
    done = set_version(copy, "1.4.2")
    assert done.returncode == 0, done.stderr
    for path in copy.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        assert project["version"] == "1.4.2"
        siblings = [d for d in project["dependencies"] if d.startswith("wmtp-core")]
        assert all(d.endswith(">=1.4,<1.5") for d in siblings), siblings
        assert bool(siblings) == (project["name"] != "wmtp-core")
    assert set_version(copy, "--check").returncode == 0


@pytest.mark.parametrize(("version", "says"), [("0.0.1", "not newer"), ("next", "no version")])
def test_a_version_that_cannot_be_is_refused_and_nothing_changes(copy: Path, version: str, says: str) -> None:
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    done = set_version(copy, version)
    assert done.returncode != 0
    assert says in done.stderr
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before


def test_a_package_out_of_step_is_named(copy: Path) -> None:
    path = copy / "packages/wmtp-s3/pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('version = "', 'version = "9', 1), encoding="utf-8")
    done = set_version(copy, "--check")
    assert done.returncode == 1
    assert "wmtp-s3" in done.stdout


@pytest.mark.parametrize("path", PROJECTS, ids=lambda p: p.parent.name)
def test_metadata_is_complete(path: Path) -> None:
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for key in ("description", "readme", "requires-python", "license", "authors", "keywords", "classifiers"):
        assert project.get(key), f"{key} is missing"
    assert "Typing :: Typed" in project["classifiers"]
    assert (path.parent / project["readme"]).is_file()
    assert list(path.parent.glob("src/*/py.typed")), "py.typed is missing"
    if project["name"] != "wmtp-core":
        assert len(project["entry-points"]["wmtp"]) == 1, "one entry point a distribution"


def test_every_package_is_installed_for_development() -> None:
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    editable = {line.split("/")[-1].split("[")[0] for line in lines if line.startswith("-e ")}
    assert editable == {path.parent.name for path in PROJECTS}
