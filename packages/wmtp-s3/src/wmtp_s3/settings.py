"""The section ``storage.s3``. No credentials: they come from boto3's own chain (environment, profile, instance role)."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import validators

Checksums = Literal["when_supported", "when_required"]


def _bucket(_: Any, __: Any, value: str) -> None:
    if not value or "/" in value:
        raise ValueError("must be a bucket's name, without slashes")


def _prefix(_: Any, __: Any, value: str) -> None:
    """What no key of a storage may hold, no prefix may: a server or a proxy may read ``..`` as a path does."""
    parts = value.strip("/").split("/") if value.strip("/") else []
    if any(part in ("", ".", "..") for part in parts) or any(c == "\\" or ord(c) < 32 for c in value):
        raise ValueError(
            "must be a folder of the bucket, without empty, '.' or '..' parts, backslashes or control characters"
        )


def _endpoint(_: Any, __: Any, value: str | None) -> None:
    """The message does not repeat the address: it would tell the password, and so would every file of a run."""
    if value is not None and "@" in value:
        raise ValueError(
            "must be a bare address such as https://host:9000; credentials come from the environment (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY) or boto3's own files"
        )


def _folder(value: Any) -> Any:
    """A prefix names a folder: ``mtpfw`` and ``mtpfw/`` are the same, and neither is the beginning of ``mtpfw2/``."""
    return f"{value.strip('/')}/" if isinstance(value, str) and value.strip("/") else value


@attrs.frozen(kw_only=True)
class S3Settings:
    """``storage.s3``: where objects are, and how they are asked for.

    Attributes:
        bucket: Its name.
        region: Its region; ``null`` leaves it to boto3.
        prefix: Keys of this storage are below it.
        versioned: The bucket keeps versions: objects are pinned by VersionId. Listing needs the right ListBucketVersions.
        endpoint_url: For S3-compatible servers.
        addressing_style: Where the bucket stands in an address; S3-compatible servers want ``path`` as a rule.
        request_checksum_calculation: botocore's own; its default breaks some older stores.
        response_checksum_validation: The same for what comes back.
        retries: Attempts for one request.
        connect_timeout: Seconds.
        read_timeout: Seconds between two pieces of an answer.
        max_connections: That the one pool keeps for the next request.
    """

    bucket: str = attrs.field(validator=_bucket)
    region: str | None = None
    prefix: str = attrs.field(default="", converter=_folder, validator=_prefix)
    versioned: bool = False
    endpoint_url: str | None = attrs.field(default=None, validator=_endpoint)
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    request_checksum_calculation: Checksums = "when_required"
    response_checksum_validation: Checksums = "when_required"
    retries: int = attrs.field(default=5, validator=validators.ge(1))
    connect_timeout: float = attrs.field(default=10.0, validator=validators.gt(0))
    read_timeout: float = attrs.field(default=60.0, validator=validators.gt(0))
    max_connections: int = attrs.field(default=16, validator=validators.ge(1))
