"""What every test of the repository shares: where the real data is, and the rule for doing without it."""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent

# Whoever runs the tests may have installed plugins of their own: of all that is installed, tests see those of this repository.
_OURS = {file.parent.name for file in ROOT.glob("packages/*/pyproject.toml")}
_INSTALLED = {point.dist.name for point in metadata.entry_points(group="wmtp") if point.dist}
if _INSTALLED - _OURS:
    os.environ["WMTP_PLUGINS"] = ",".join(sorted(_INSTALLED & _OURS))

# Coverage doubles what a test costs, and three rooms have a floor (scripts/coverage_floors.py): it is measured in the tests of
# these rooms and of runs as a whole, and nowhere else.
_CORE = "packages/wmtp-core/tests"
_MEASURED = re.compile(
    rf"tests/(test_|server_engine/|cluster/)|{_CORE}/(test_|cli/|comparison/|evaluation/|judging/|runs/|tracking/)|packages/wmtp-eval-"
)

# Tests run side by side, and so do the commands they start: torch's own threads would only fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
# No test asks the real hub. huggingface_hub reads this once, when it is imported, which may be before any fixture runs.
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("cov_source", None):
        return
    for item in items:
        if not _MEASURED.match(item.path.relative_to(ROOT).as_posix()):
            item.add_marker("no_cover")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout. Absent: the test skips and says so, or fails where ``CI=true``."""
    folder = Path(os.environ.get("WMTP_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        message = f"real data not found: {folder} (set WMTP_SHARED to the folder that holds data/)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
