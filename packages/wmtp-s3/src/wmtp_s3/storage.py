"""The storage itself: lists, reads pinned ranges, puts. Imports boto3."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import wmtp
from wmtp_s3.settings import S3Settings

CHUNK = 1 << 20
MISSING = frozenset({"NoSuchKey", "404", "NoSuchVersion"})


class S3Error(OSError):
    """A request that failed for good: what was asked, and what the server or the network said. Never a credential."""


def _told(what: str, error: ClientError | BotoCoreError) -> S3Error:
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "?")
        return S3Error(f"{what}: {code}: {error.response.get('Error', {}).get('Message', '')}".rstrip(": "))
    return S3Error(f"{what}: {type(error).__name__}: {error}")


def _bare(etag: str) -> str:
    """An ETag without its quotes: some servers (rclone's) leave them out in listings and have them in answers."""
    return etag.strip('"')


class S3Storage:
    """Objects of a bucket below a prefix. A version is the ETag, pinned by If-Match. Safe to use from several threads."""

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self._client: Any = boto3.client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": settings.addressing_style},
                retries={"max_attempts": settings.retries, "mode": "standard"},
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.read_timeout,
                max_pool_connections=settings.max_connections,
                request_checksum_calculation=settings.request_checksum_calculation,
                response_checksum_validation=settings.response_checksum_validation,
            ),
        )

    def _key(self, key: str) -> str:
        return f"{self.settings.prefix}{key}"

    def list(self, prefix: str) -> Iterator[wmtp.Entry]:
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self.settings.bucket, Prefix=self._key(prefix)):
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(self.settings.prefix)
                    yield wmtp.Entry(key, found["Size"], _bare(found["ETag"]))
        except (ClientError, BotoCoreError) as error:
            raise _told(f"listing s3://{self.settings.bucket}/{self._key(prefix)}", error) from None

    def read(self, entry: wmtp.Entry, start: int, stop: int) -> Iterator[bytes]:
        where = f"s3://{self.settings.bucket}/{self._key(entry.key)}"
        try:
            answer = self._client.get_object(
                Bucket=self.settings.bucket,
                Key=self._key(entry.key),
                Range=f"bytes={start}-{stop - 1}",
                IfMatch=f'"{entry.version}"',
            )
            # A server that ignores If-Match says in its answer which version it sent.
            if _bare(answer.get("ETag", entry.version)) != entry.version:
                raise wmtp.Changed(entry.key)
            yield from answer["Body"].iter_chunks(CHUNK)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("PreconditionFailed", "412", "InvalidRange", "416") or code in MISSING:
                raise wmtp.Changed(entry.key) from None
            raise _told(f"reading {where}", error) from None
        except BotoCoreError as error:
            raise _told(f"reading {where}", error) from None

    def put(self, key: str, source: Path | bytes, *, sha256: str) -> wmtp.Entry:
        where = f"s3://{self.settings.bucket}/{self._key(key)}"
        try:
            if isinstance(source, bytes):
                checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
                self._client.put_object(
                    Bucket=self.settings.bucket,
                    Key=self._key(key),
                    Body=source,
                    Metadata={"sha256": sha256},
                    ChecksumSHA256=checksum,
                )
            else:  # in parts where it is large; visible when all of them are there
                self._client.upload_file(
                    str(source), self.settings.bucket, self._key(key), ExtraArgs={"Metadata": {"sha256": sha256}}
                )
            head = self._client.head_object(Bucket=self.settings.bucket, Key=self._key(key))
        except (ClientError, BotoCoreError) as error:
            raise _told(f"writing {where}", error) from None
        return wmtp.Entry(key, head["ContentLength"], _bare(head["ETag"]), sha256)
