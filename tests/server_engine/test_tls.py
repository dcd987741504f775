"""Servers behind https: which certificates count, and that no part of one answer is taken for the next one's there either."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from openai_server import FAULTS, StandIn, drawn

import wmtp
from wmtp_openai.engine import open_engine
from wmtp_openai.settings import OpenAISettings


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that it has signed itself, behind its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of a test")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*pem) + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[StandIn]:
    server = StandIn()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.started()
    yield server
    server.stop()


def address(server: StandIn) -> str:
    return f"openai:https://127.0.0.1:{server.server_address[1]}/v1"


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def test_a_certificate_that_nobody_trusts_is_named(secure: StandIn) -> None:
    with pytest.raises(wmtp.GenerationError, match=r"CERTIFICATE_VERIFY_FAILED.*a certificate that nobody here trusts"):
        open_engine(address(secure), OpenAISettings(patience_s=0.2))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("fault", [None, "a second answer behind it"])
def test_answers_under_tls_are_each_their_own_requests(fault: str | None, secure: StandIn) -> None:
    sampling = wmtp.Sampling()
    requests = [
        wmtp.GenerationRequest(
            key=wmtp.SampleKey(evaluator="e", problem=str(p), index=0), prompt=f"prompt {p}:", max_new_tokens=8
        )
        for p in range(12)
    ]
    engine = open_engine(address(secure), OpenAISettings(timeout_s=5.0, patience_s=5.0, concurrency=2))
    secure.faults = [FAULTS[fault]] * 4 if fault else []
    try:
        found = {c.key: c.text for c in engine.generate(requests, sampling)}
    finally:
        engine.close()
    assert found == {r.key: drawn({"prompt": r.prompt, "temperature": 0.0}) for r in requests}
    assert not secure.asked_again()


@pytest.mark.usefixtures("trusted")
def test_a_connection_under_tls_serves_one_request_after_another(
    secure: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmtp_openai.connections.REST_S", 0.0)
    accepted, begin = [], secure.process_request

    def counting(request: Any, client: Any) -> None:
        accepted.append(client)
        begin(request, client)

    monkeypatch.setattr(secure, "process_request", counting)
    key = wmtp.SampleKey(evaluator="e", problem="0", index=0)
    engine = open_engine(address(secure), OpenAISettings(timeout_s=5.0, concurrency=1))
    try:
        for _ in range(4):
            list(engine.generate([wmtp.GenerationRequest(key=key, prompt="p")], wmtp.Sampling()))
    finally:
        engine.close()
    assert len(accepted) == 1
