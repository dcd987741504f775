"""These tests say themselves which plugins there are, and how strict to be; the shell's settings stay out of it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WMTP_PLUGINS", "WMTP_STRICT_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
