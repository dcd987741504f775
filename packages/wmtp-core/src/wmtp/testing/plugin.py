"""The pytest plugin that wmtp-core installs: fixtures for plugin authors."""

from __future__ import annotations
