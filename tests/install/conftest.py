"""Real environments with our built wheels in them, for the tests that install.

They share one folder of third-party packages, without torch, so that only our own distributions differ between them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
# What wmtp-core requires, and what these tests run with; never torch.
THIRD_PARTY = (
    "attrs", "boto3", "cattrs", "click", "filelock", "hatchling", "huggingface_hub", "numpy", "packaging", "pip", "pluggy",
    "pytest", "PyYAML", "rich", "ruamel.yaml",
)  # fmt: skip


def execute(*command: str | Path, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WMTP_", "PYTHON", "PYTEST_", "COV_"))}
    return subprocess.run(
        [str(c) for c in command], cwd=cwd, env={**clean, **variables}, capture_output=True, text=True, timeout=300
    )


def must(*command: str | Path, **options: Path) -> None:
    done = execute(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheels/ (ours, built now) and third-party/ (what they need). Made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "warehouse"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            packages = [p.parent for p in sorted(ROOT.glob("packages/*/pyproject.toml"))]
            pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
            must(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "wheels", *packages)
            pinned = ("-c", ROOT / "constraints.txt")
            must(*pip, "install", "--no-compile", *pinned, "--target", folder / "third-party", *THIRD_PARTY)
            (folder / "done").touch()
    return folder


class Installation:
    """A real environment with some of our wheels in it."""

    def __init__(self, folder: Path, warehouse: Path, distributions: tuple[str, ...]) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / "bin/python"
        site = next(folder.glob("lib/python*/site-packages"))
        (site / "third_party.pth").write_text(f"{warehouse / 'third-party'}\n", encoding="utf-8")
        wheels = [next((warehouse / "wheels").glob(d.replace("-", "_") + "-*.whl")) for d in distributions]
        must(sys.executable, "-m", "pip", "--quiet", "--python", self.python, "install", "--no-deps", *wheels)
        self.cwd = folder / "work"
        shutil.copytree(ROOT / "examples", self.cwd / "examples", ignore=shutil.ignore_patterns("*.safetensors"))

    def wmtp(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return execute(self.python, "-m", "wmtp", *arguments, cwd=self.cwd, **variables)

    def pip(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """pip in this environment; what a package needs is there already, and nothing is fetched to build it."""
        options = ("--no-deps", "--no-build-isolation") if arguments[0] == "install" else ()
        return execute(self.python, "-m", "pip", "--quiet", *arguments, *options, cwd=cwd)

    def listed(self, **variables: str) -> dict[str, str]:
        """Distribution → state, as ``wmtp plugins list`` has it, core's own plugin left out."""
        done = self.wmtp("plugins", "list", "--json", **variables)
        assert done.returncode == 0, done.stderr
        plugins = json.loads(done.stdout)["plugins"]
        return {p["distribution"]: p["state"] for p in plugins if p["distribution"] != "wmtp-core"}

    def metrics(self, **variables: str) -> str:
        done = self.wmtp("metrics", **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in an environment cleaned of what this test session has set."""
    return execute


@pytest.fixture(scope="session")
def installation(warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    made: dict[tuple[str, ...], Installation] = {}

    def make(*plugins: str) -> Installation:
        if plugins not in made:
            folder = tmp_path_factory.mktemp("environment")
            made[plugins] = Installation(folder, warehouse, ("wmtp-core", *plugins))
        return made[plugins]

    return make
