"""wmtp-s3 against real servers: OpenStack Swift for correctness and authentication, rclone, and moto for checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from fault_proxy import FaultProxy
from s3_servers import S3Server
from storage_helpers import put

import wmtp
from wmtp.storage.cache import Cache
from wmtp.storage.transfer import download, upload
from wmtp.testing import StorageContract


@pytest.fixture(params=["swift", "rclone", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


def read(storage: Any, entry: wmtp.Entry) -> bytes:
    return b"".join(storage.read(entry, 0, entry.size))


class TestContract(StorageContract):
    @pytest.fixture(autouse=True)
    def _opened(self, server: S3Server, open_storage: Callable[..., Any]) -> None:
        self._storage = open_storage(server)

    def storage(self) -> Any:
        return self._storage


def test_a_folder_goes_there_and_back(server: S3Server, open_storage: Callable[..., Any], tmp_path: Path) -> None:
    """Up in parts, down in ranges, with names that need quoting."""
    folder = tmp_path / "checkpoint"
    (folder / "a b").mkdir(parents=True)
    files = {"weights.bin": os.urandom(33 << 20), "a b/ü+%=&?#.json": b"{}", "empty": b"", "~x(1)!*'": b"x"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    storage = open_storage(server)
    upload(storage, folder, "models/m/")
    entry = download(storage, list(storage.list("models/m/")), "models/m/", Cache(tmp_path / "cache"), "source")
    for name, data in files.items():
        assert (entry.path / name).read_bytes() == data
    assert set(entry.files) == {*files, "wmtp-manifest.json"}
    assert Cache(tmp_path / "cache").verify(entry) == []


def test_ranges_do_not_go_through_boto3(
    server: S3Server, open_storage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes them cheap: if botocore's insides move, this fails, and not just a benchmark."""
    storage = open_storage(server)
    entry = put(storage, "k", b"0123456789")
    monkeypatch.setattr(storage._client, "get_object", None)
    assert b"".join(storage.read(entry, 2, 5)) == b"234"


def test_ranges_are_read_into_memory_by_http_client_itself(
    server: S3Server, open_storage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the connection is used again. Where its insides move, this fails; reading goes on, at the price of copies."""
    from botocore.httpsession import URLLib3Session
    from botocore.response import StreamingBody

    storage = open_storage(server)
    data = os.urandom(1 << 20)
    entry = put(storage, "k", data)
    whole = StreamingBody.read
    monkeypatch.setattr(StreamingBody, "read", None)
    before: dict[Any, int] = {}
    for start in range(0, 1 << 20, 1 << 18):
        assert b"".join(storage.read(entry, start, start + (1 << 18))) == data[start : start + (1 << 18)]
        session: URLLib3Session = storage._client._endpoint.http_session
        pools = session._manager.pools
        made = {key: pools[key].num_connections for key in pools.keys()}  # noqa: SIM118  (no plain mapping)
        assert before in ({}, made), "no new connection"
        before = made
    monkeypatch.setattr(StreamingBody, "read", whole)
    monkeypatch.setattr("wmtp_s3.direct.HTTPResponse", type(None))
    assert read(storage, entry) == data


def test_checksums_may_be_left_to_boto3(server: S3Server, open_storage: Callable[..., Any]) -> None:
    checks = "when_supported" if server.kind == "moto" else "when_required"
    storage = open_storage(server, request_checksum_calculation=checks, response_checksum_validation="when_supported")
    assert read(storage, put(storage, "k", b"content")) == b"content"


@pytest.mark.parametrize("kind", ["swift", "moto"])  # rclone keeps no metadata of objects that came in parts
def test_sha256_is_kept_as_metadata(
    kind: str, open_storage: Callable[..., Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: S3Server = request.getfixturevalue(kind)
    storage = open_storage(server)
    (tmp_path / "file").write_bytes(os.urandom(20 << 20))
    for key, source in (("small", b"content"), ("large", tmp_path / "file")):
        data = source if isinstance(source, bytes) else source.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        storage.put(key, source, sha256=digest)
        head = server.client().head_object(Bucket=storage.settings.bucket, Key=f"here/{key}")
        assert head["Metadata"]["sha256"] == digest


def test_moto_has_the_checksum_that_was_sent(moto: S3Server, open_storage: Callable[..., Any]) -> None:
    import base64

    storage = open_storage(moto)
    put(storage, "k", b"content")
    head = moto.client().head_object(Bucket=storage.settings.bucket, Key="here/k", ChecksumMode="ENABLED")
    assert base64.b64decode(head["ChecksumSHA256"]) == hashlib.sha256(b"content").digest()


def test_a_wrong_secret_is_told_and_not_shown(
    swift: S3Server, open_storage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(swift)
    entry = put(storage, "k", b"content")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    wrong = type(storage)(storage.settings)
    for attempt in (lambda: list(wrong.list("")), lambda: read(wrong, entry), lambda: put(wrong, "k2", b"x")):
        with pytest.raises(OSError, match=r"SignatureDoesNotMatch|403|AccessDenied") as caught:
            attempt()
        assert "not-the-secret" not in str(caught.value)


def test_a_direct_read_that_is_refused_is_left_to_boto3(swift: S3Server, open_storage: Callable[..., Any]) -> None:
    """Each request is signed with the credentials of its time; where they expire on the way, boto3 gets new ones."""
    from botocore.credentials import ReadOnlyCredentials

    class Expired:
        def get_frozen_credentials(self) -> Any:
            return ReadOnlyCredentials("test:tester", "expired", None)

    storage = open_storage(swift)
    entry = put(storage, "k", b"content")
    assert read(storage, entry) == b"content"
    storage._reader._credentials = Expired()
    assert read(storage, entry) == b"content"


@pytest.mark.parametrize("kind", ["swift", "moto"])
def test_versions_pin_what_was_listed(
    kind: str, open_storage: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    server: S3Server = request.getfixturevalue(kind)
    storage = open_storage(server, versioned=True)
    server.client().put_bucket_versioning(Bucket=storage.settings.bucket, VersioningConfiguration={"Status": "Enabled"})
    put(storage, "k", b"the old one")
    (old,) = storage.list("")
    new = put(storage, "k", b"the new one!")
    assert read(storage, old) == b"the old one", "a version stays readable"
    assert list(storage.list("")) == [wmtp.Entry(key="k", size=12, version=new.version)]
    server.client().delete_object(
        Bucket=storage.settings.bucket, Key="here/k", VersionId=old.version.rpartition("/")[0]
    )
    with pytest.raises(wmtp.ObjectChanged):
        read(storage, old)
    server.client().delete_object(Bucket=storage.settings.bucket, Key="here/k")
    assert list(storage.list("")) == [], "a delete marker is no object"


def test_one_connection_serves_many_requests(
    proxy: FaultProxy, swift: S3Server, open_storage: Callable[..., Any]
) -> None:
    storage = open_storage(swift)
    entry = put(storage, "k", b"content")
    connections: set[Any] = set()
    plain = proxy.get_request

    def counted() -> Any:
        got = plain()
        connections.add(got[1])
        return got

    proxy.get_request = counted  # type: ignore[method-assign]
    through = type(storage)(attrs.evolve(storage.settings, endpoint_url=proxy.url))
    for _ in range(20):
        assert read(through, entry) == b"content"
    assert len(proxy.reads) == 20
    assert len(connections) == 1
