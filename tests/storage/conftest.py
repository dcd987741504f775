"""A storage in a bucket of the test's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from s3_servers import S3Server
from storage_helpers import opened


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """``section(server, **settings)``: ``storage.s3`` for a new bucket; the credentials go through boto3's chain.

    at: another address, a proxy's, for the same server.
    """

    def made(server: S3Server, at: str | None = None, **settings: Any) -> dict[str, Any]:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        bucket = f"wmtp-{time.time_ns()}"
        server.client().create_bucket(Bucket=bucket)
        return {
            "bucket": bucket, "region": "us-east-1", "prefix": "here/", "endpoint_url": at or server.url,
            "addressing_style": "path", "retries": 1, **settings,
        }  # fmt: skip

    return made


@pytest.fixture
def open_storage(section: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    def made(server: S3Server, **settings: Any) -> Any:
        return opened(section(server, **settings))

    return made
