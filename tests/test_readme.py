"""The commands and snippets of the READMEs and of the getting-started page, run as a reader would run them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from warm_start import WarmStart

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "README.ko.md", "docs/start.md")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [body for kind, body in FENCE.findall(text) if kind == language]


def commands(page: str) -> list[str]:
    return [line for body in blocks(page, "sh") for line in body.splitlines() if line.strip()]


# A command that stands on several pages runs once; the order is that of the pages.
COMMANDS = list(dict.fromkeys(line for page in PAGES for line in commands(page)))
WMTP = [line for line in COMMANDS if line.startswith("wmtp ")]
# The first that opens a model starts as a reader starts it; for the others torch is imported once (warm_start.py).
COLD = next(line for line in WMTP if line.endswith("demo-model.yaml"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a checkout's root to the commands, so that their runs/ do not land in the real one."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def run(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_both_readmes_have_the_same_commands_and_snippets() -> None:
    assert commands("README.md") == commands("README.ko.md")
    assert blocks("README.md", "python") == blocks("README.ko.md", "python")


def test_every_command_is_of_a_kind_that_is_tested() -> None:
    strangers = [line for line in COMMANDS if not line.startswith(("wmtp ", "make ", "pip install "))]
    assert not strangers


def making(folder: str) -> str:
    """The command of our pages that makes a run folder; tests of single commands run in any order and process."""
    name = folder.removeprefix("runs/")
    return next(c for c in WMTP if c.startswith("wmtp eval ") and c.endswith((f"run.name={name}", f"/{name}.yaml")))


@pytest.mark.parametrize("command", WMTP)
def test_wmtp_command(command: str, checkout: Path, warm_start: WarmStart) -> None:
    wanted = [word for word in shlex.split(command) if word.startswith("runs/") and not (checkout / word).exists()]
    for line in (*map(making, wanted), command):
        arguments = shlex.split(line)[1:]
        if line == COLD:
            done = run([sys.executable, "-m", "wmtp", *arguments], checkout)
        else:
            done = warm_start.run(arguments, checkout, os.environ, timeout=300)
        assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_make_target_exists(command: str) -> None:
    done = run(["make", "--dry-run", *shlex.split(command)[1:]], ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("pip install ")])
def test_pip_line_names_our_distributions(command: str) -> None:
    names = [re.split(r"[\[<>=]", word.removeprefix("./packages/"))[0] for word in shlex.split(command)[2:]]
    assert names
    assert [n for n in names if not (ROOT / "packages" / n / "pyproject.toml").is_file()] == []


@pytest.mark.parametrize("snippet", blocks("README.md", "python"))
def test_python_snippet(snippet: str, checkout: Path) -> None:
    done = run([sys.executable, "-c", snippet], checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1.0\n"


def test_the_model_snippet_of_the_getting_started_page(checkout: Path) -> None:
    (snippet,) = blocks("docs/start.md", "python")
    done = run([sys.executable, "-c", snippet], checkout)
    assert done.returncode == 0, done.stderr
    shapes = [re.findall(r"\d+", line) for line in done.stdout.splitlines()[:2]]
    assert [len(shape) for shape in shapes] == [3, 4], done.stdout
    assert shapes[1] == [*shapes[0][:2], "4", shapes[0][2]], "the demo's model has four heads"


@pytest.mark.parametrize("page", [*PAGES, *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md")))])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    missing = [t for t in targets if "://" not in t and not (ROOT / page).parent.joinpath(t).exists()]
    assert not missing
