"""The servers as fixtures, one of each kind a session. Absent: the tests skip and name the command, or fail where CI=true."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fault_proxy import FaultProxy, proxied
from hub_server import Hub
from s3_servers import Missing, S3Server, moto_server, rclone_server, swift_server


def _served(server: AbstractContextManager[S3Server]) -> Iterator[S3Server]:
    try:
        started = server.__enter__()
    except Missing as absent:
        message = f"a server that this test starts is not installed: {absent}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    try:
        yield started
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from _served(moto_server(tmp_path_factory.mktemp("moto")))


@pytest.fixture(scope="session")
def rclone_folder() -> Iterator[Path]:
    """In memory where that is possible: it is the client that is tested. ``served/BUCKET/KEY`` are the objects."""
    with tempfile.TemporaryDirectory(
        prefix="wmtp-rclone-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    ) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def rclone(rclone_folder: Path) -> Iterator[S3Server]:
    yield from _served(rclone_server(rclone_folder))


@pytest.fixture(scope="session")
def swift() -> Iterator[S3Server]:
    with tempfile.TemporaryDirectory(
        prefix="wmtp-swift-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    ) as name:
        yield from _served(swift_server(Path(name)))


@pytest.fixture
def proxy(swift: S3Server) -> Iterator[FaultProxy]:
    """A proxy in front of Swift, of this test's own."""
    with proxied(swift.url) as made:
        yield made


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def online(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """The environment of a command that talks to this hub, with a cache of its own."""
    return {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "3", "HF_HUB_ETAG_TIMEOUT": "3",
    }  # fmt: skip
