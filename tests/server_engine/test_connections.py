"""Connections to a server: how many, what is sent in one piece, and that a stray answer stays alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai_server import FAULTS, StandIn

import wmtp
from wmtp_openai.engine import OpenAIEngine, open_engine
from wmtp_openai.settings import OpenAISettings

Opened = Callable[..., OpenAIEngine]
STRAY = FAULTS["a second answer behind it"]


class Counted(StandIn):
    """Counts connections."""

    connections = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmtp_openai.connections.REST_S", 0.0)


@pytest.fixture
def counted() -> Iterator[Counted]:
    server = Counted()
    server.started()
    yield server
    server.stop()


def texts(engine: OpenAIEngine, count: int) -> list[tuple[str, str]]:
    requests = [
        wmtp.GenerationRequest(key=wmtp.SampleKey(evaluator="e", problem=str(i), index=0), prompt=f"{i}")
        for i in range(count)
    ]
    return [(c.finish_reason, c.text) for c in engine.generate(requests, wmtp.Sampling())]


def test_one_connection_serves_one_request_after_another(counted: Counted, opened: Opened) -> None:
    counted.shape = lambda body, answer: answer | {"padding": "x" * 300_000}  # several reads long
    found = texts(opened(counted, concurrency=1, timeout_s=10), 6)
    assert [finish for finish, _ in found] == ["length"] * 6
    assert counted.connections == 1


def test_a_connection_on_which_more_came_than_an_answer_is_not_used_again(counted: Counted, opened: Opened) -> None:
    engine = opened(counted, concurrency=1, timeout_s=10)
    texts(engine, 1)
    before = counted.connections
    counted.faults = [STRAY]
    found = texts(engine, 4)
    assert all("stray" not in text and "lost" not in text for _, text in found)
    assert not counted.asked_again().keys() - {('"0"', counted.seen[0]["seed"])}  # asked twice by this test
    assert counted.connections > before


def test_a_request_is_sent_in_one_piece(opened: Opened) -> None:
    """Its head and its body: the server is woken once."""
    pieces: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                while piece := connection.recv(2**16):
                    pieces.append(piece)
                    body = b'{"data": [{"id": "m"}], "choices": [{"text": "x", "finish_reason": "stop"}]}'
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        engine = open_engine(f"openai:{url}", OpenAISettings(concurrency=1, timeout_s=10))
        try:
            assert texts(engine, 3) == [("stop", "x")] * 3
        finally:
            engine.close()
    posts = [piece for piece in pieces if piece.startswith(b"POST")]
    assert len(posts) == 3
    assert all(piece.endswith(b"}") for piece in posts)
