"""What every test of the repository shares: where the real data is, and the rule for doing without it."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent

# Whoever runs the tests may have installed plugins of their own: of all that is installed, tests see those of this repository.
_OURS = {file.parent.name for file in ROOT.glob("packages/*/pyproject.toml")}
_INSTALLED = {point.dist.name for point in metadata.entry_points(group="wmtp") if point.dist}
if _INSTALLED - _OURS:
    os.environ["WMTP_PLUGINS"] = ",".join(sorted(_INSTALLED & _OURS))

# Tests run side by side, and so do the commands they start: torch's own threads would only fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test asks the real hub. huggingface_hub reads this once, when it is imported, which may be before any fixture runs.
os.environ["HF_HUB_OFFLINE"] = "1"


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
