"""A stand-in server for each test, and an engine on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs wmtp-openai")

from openai_server import StandIn

from wmtp_openai.engine import OpenAIEngine, open_engine
from wmtp_openai.settings import OpenAISettings


@pytest.fixture
def server() -> Iterator[StandIn]:
    made = StandIn().started()
    yield made
    made.stop()


@pytest.fixture
def opened() -> Iterator[Callable[..., OpenAIEngine]]:
    engines: list[OpenAIEngine] = []

    def made(server: StandIn, **settings: Any) -> OpenAIEngine:
        settings = {"timeout_s": 1.0, "patience_s": 5.0} | settings
        engines.append(open_engine(f"openai:{server.url}", OpenAISettings(**settings)))
        return engines[-1]

    yield made
    for engine in engines:
        engine.close()
