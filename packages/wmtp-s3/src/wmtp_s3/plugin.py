"""The hook implementations of wmtp-s3: ``storage.mode: s3`` and ``s3://bucket/key`` references."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

import wmtp
from wmtp_s3.settings import S3Settings

NO_CREDENTIALS = "none in boto3's chain: environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), profile, instance role"


def open_storage(settings: S3Settings) -> wmtp.Storage:
    from wmtp_s3.storage import S3Storage

    return S3Storage(settings)


def open_url(url: str, settings: S3Settings | None) -> tuple[wmtp.Storage, str]:
    """The bucket of a URL as a storage, and the key in it. Region, endpoint and the rest are those of ``storage.s3``.

    Raises ConfigError for a URL without a bucket, and without a key: it would stand for all that is in the bucket.
    """
    # No web address: '#', '?' and '%' are characters of a key like any other.
    bucket, _, key = url.partition("://")[2].partition("/")
    if "@" in bucket:  # not repeated: what stands before it may be a password
        raise wmtp.ConfigError("an s3:// URL takes no user and no password; write s3://bucket/key")
    if not bucket or not key.strip("/"):
        raise wmtp.ConfigError(f"{url!r} names no {'key' if bucket else 'bucket'}; write s3://bucket/key")
    base = attrs.evolve(settings, bucket=bucket, prefix="") if settings else S3Settings(bucket=bucket)
    return open_storage(base), key


def describe(settings: S3Settings, key: str) -> str:
    """Endpoint, bucket and key: what tells one object from every other."""
    return "/".join(part for part in (settings.endpoint_url, settings.bucket, f"{settings.prefix}{key}") if part)


def check(settings: S3Settings) -> Iterator[wmtp.Check]:
    """For ``wmtp doctor``: credentials found, bucket and prefix listable, and whether versions could be pinned."""
    import boto3

    from wmtp_s3.storage import S3Storage

    found = boto3.Session().get_credentials()
    detail = f"from {found.method}" if found else NO_CREDENTIALS
    yield wmtp.Check("s3: credentials", found is not None, detail)
    storage = S3Storage(settings)
    where = f"s3://{settings.bucket}/{settings.prefix}"
    try:
        first = next(storage.list(""), None)
    except OSError as error:
        yield wmtp.Check(f"s3: {where}", False, str(error))
        return
    yield wmtp.Check(f"s3: {where}", True, "" if first else "reachable; nothing under the prefix yet")
    if storage.keeps_versions() and not settings.versioned:
        yield wmtp.Check(
            "s3: versions", None, "the bucket keeps them; storage.s3.versioned: true pins downloads by them"
        )


@wmtp.hookimpl
def wmtp_storages() -> list[wmtp.StorageSpec]:
    return [
        wmtp.StorageSpec(
            mode="s3",
            summary="an S3 bucket and prefix",
            schemes=("s3",),
            settings=S3Settings,
            open=open_storage,
            open_url=open_url,
            check=check,
            describe=describe,
        )
    ]
