"""Connections to a server: how many, what is sent in one piece, and that a stray answer stays alone, under TLS as well."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
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


class Secret(Counted):
    """The same under TLS."""

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmtp_openai.connections.REST_S", 0.0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for this machine that nobody has signed."""
    pytest.importorskip("cryptography")
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = tmp_path_factory.mktemp("tls") / "key-and-certificate.pem"
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(pem, *plain) + made.public_bytes(pem))
    return path


def under_tls(certificate: Path) -> Secret:
    server, tls = Secret(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    return server


@pytest.fixture(params=["http", "https"])
def counted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    server = Counted()
    if request.param == "https":
        certificate: Path = request.getfixturevalue("certificate")
        server = under_tls(certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    yield server.started()
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


def test_a_certificate_that_nobody_trusts_is_told(certificate: Path, opened: Opened) -> None:
    server = under_tls(certificate).started()
    try:
        with pytest.raises(wmtp.GenerationError, match="a certificate that nobody here trusts"):
            opened(server)
    finally:
        server.stop()
