"""The fixtures of `tiny_training`, which tests import by name: a conftest cannot be imported beside another folder tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tiny_training import bench, known, model_folder, plugins, rows_file, stop_after

__all__ = ["bench", "known", "model_folder", "plugins", "rows_file", "stop_after"]
