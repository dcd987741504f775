"""The storage itself: lists, reads pinned ranges, puts. Imports boto3."""

from __future__ import annotations

import base64
import functools
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import botocore.session
from botocore.awsrequest import HeadersDict
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import wmtp
from wmtp_s3.direct import RangeReader, direct, filled
from wmtp_s3.settings import S3Settings

CHUNK_BYTES = 192 << 10
"""Bytes of a chunk of `read`, at most. Core reads into a block of its own."""
MOVED_ON = frozenset({"PreconditionFailed", "412", "InvalidRange", "416", "NoSuchKey", "404", "NoSuchVersion"})


class S3Error(OSError):
    """A request that failed for good: what was asked, and what the server or the network said. Never a credential."""


def _bare(etag: str) -> str:
    """An ETag without its quotes, which some servers (rclone's) leave out in listings and have in answers, and without the mark
    of a weak one, which proxies add."""
    return etag.removeprefix("W/").strip('"')


def _etag(entry: wmtp.Entry) -> str:
    return entry.version.rpartition("/")[2]


@functools.cache
def _descriptions() -> Any:
    """botocore's loader of service descriptions: a session of its own would read megabytes of them again, for 70 ms."""
    return botocore.session.Session().get_component("data_loader")


def _differs(headers: Mapping[str, str], entry: wmtp.Entry, start: int, stop: int) -> str:
    """What an answer says of itself that does not fit the range that was asked for; raises ObjectChanged for another version.

    A server that ignores If-Match says in its answer which version it sent, and one that ignores Range leaves Content-Range
    out: that is the whole object. An answer that says neither is not S3's (a page to log in, say).
    """
    etag, sent, length = (headers.get(name, "") for name in ("ETag", "Content-Range", "Content-Length"))
    asked = f"asked for bytes {start} to {stop} of {entry.size}"
    if not etag and not sent:
        return f"{asked}, got an answer without ETag and Content-Range ({headers.get('Content-Type') or 'no Content-Type'})"
    if _bare(etag or _etag(entry)) != _etag(entry):
        raise wmtp.ObjectChanged(entry.key)
    if not sent:
        if start:
            return f"{asked}, got the whole object: this server does not serve ranges"
        wanted = entry.size
    else:
        span, _, total = sent.lower().removeprefix("bytes ").partition("/")
        first, _, last = span.partition("-")
        if first != str(start) or not last.isdecimal() or int(last) >= stop:
            return f"{asked}, got {sent!r}"
        if total not in ("*", str(entry.size)):
            raise wmtp.ObjectChanged(entry.key)
        wanted = int(last) + 1 - start  # fewer than were asked for are a beginning
    encoded = headers.get("Content-Encoding", "identity") != "identity"
    if (length.isdecimal() and int(length) > wanted) or (encoded and length != str(wanted)):
        return f"{asked}, got {length or 'who knows how many'} bytes{', encoded on the way' if encoded else ''}"
    return ""


class S3Storage:
    """Objects of a bucket below a prefix. Safe to use from several threads.

    A version is the ETag, pinned by If-Match; with ``versioned`` it is the VersionId too, which stays readable when the object
    is replaced.
    """

    def __init__(self, settings: S3Settings) -> None:
        """Raises S3Error for settings that boto3 does not take, and for a broken configuration of its own."""
        self.settings = settings
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": settings.addressing_style},
            retries={"total_max_attempts": settings.retries, "mode": "standard"},
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            max_pool_connections=settings.max_connections,
            request_checksum_calculation=settings.request_checksum_calculation,
            response_checksum_validation=settings.response_checksum_validation,
        )
        try:
            core = botocore.session.Session()
            core.register_component("data_loader", _descriptions())
            self._session = boto3.Session(botocore_session=core)
            self._client: Any = self._session.client(
                "s3", region_name=settings.region, endpoint_url=settings.endpoint_url, config=config
            )
        except (BotoCoreError, ValueError) as error:  # an address that is none, a profile that is not there
            raise S3Error(f"opening s3://{settings.bucket}: {error}") from None
        self._lock = threading.Lock()
        self._reader: RangeReader | None = None
        self._reader_made = False

    def _key(self, key: str) -> str:
        return f"{self.settings.prefix}{key}"

    def _where(self, key: str) -> str:
        return f"s3://{self.settings.bucket}/{self._key(key)}"

    def _failed(self, what: str, error: ClientError | BotoCoreError | HTTPException | OSError) -> S3Error:
        """What happened, in words; a server that echoes what it was sent does not make us show it."""
        text = f"{what}: {type(error).__name__}: {error}"
        if isinstance(error, ClientError):
            named = error.response.get("Error", {})
            text = f"{what}: {named.get('Code', '?')}: {named.get('Message', '')}".rstrip(": ")
        try:
            credentials = self._session.get_credentials()
            secrets = credentials.get_frozen_credentials()[1:3] if credentials else ()
        except BotoCoreError:
            secrets = ()
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return S3Error(text)

    def _pinned(self, found: Mapping[str, Any]) -> str:
        """The version of an object, from what a listing or an answer says of it. `_etag` takes it apart again."""
        etag = _bare(found["ETag"])
        return f"{found.get('VersionId', 'null')}/{etag}" if self.settings.versioned else etag

    def list(self, prefix: str) -> Iterator[wmtp.Entry]:
        """Every object, as one listing has it. Raises S3Error."""
        operation, rows = (
            ("list_object_versions", "Versions") if self.settings.versioned else ("list_objects_v2", "Contents")
        )
        try:
            for page in self._client.get_paginator(operation).paginate(
                Bucket=self.settings.bucket, Prefix=self._key(prefix)
            ):
                for found in page.get(rows, ()):
                    if not found.get("IsLatest", True):
                        continue
                    key = found["Key"].removeprefix(self.settings.prefix)
                    yield wmtp.Entry(key=key, size=found["Size"], version=self._pinned(found))
        except (ClientError, BotoCoreError) as error:
            raise self._failed(f"listing {self._where(prefix)}", error) from None

    def read(self, entry: wmtp.Entry, start: int, stop: int) -> Iterator[bytes]:
        """Bytes ``[start, stop)`` of the pinned version. Raises ObjectChanged, S3Error."""
        buffer = memoryview(bytearray(min(CHUNK_BYTES, stop - start)))
        for count in self.read_into(entry, start, stop, buffer):
            yield bytes(buffer[:count])

    def read_into(self, entry: wmtp.Entry, start: int, stop: int, buffer: memoryview) -> Iterator[int]:
        """The same, put into `buffer` piece over piece; yields their lengths."""
        what = f"reading {self._where(entry.key)}"
        try:
            headers, body = self._get(entry, start, stop)
            with body:
                if wrong := _differs(headers, entry, start, stop):
                    raise S3Error(f"{what}: {wrong}")
                yield from filled(body, buffer)
            if not headers.get("ETag"):
                self._check_unchanged(entry)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code", "") in MOVED_ON:
                raise wmtp.ObjectChanged(entry.key) from None
            raise self._failed(what, error) from None
        except S3Error:
            raise
        except (BotoCoreError, HTTPException, OSError) as error:
            raise self._failed(what, error) from None

    def _check_unchanged(self, entry: wmtp.Entry) -> None:
        """For a server whose answers do not say which version they are of. Raises ObjectChanged if the object is another now.

        What was read before the question is then of the version that was pinned, unless it was replaced and put back meanwhile.
        """
        head = self._client.head_object(Bucket=self.settings.bucket, Key=self._key(entry.key))
        if _bare(head["ETag"]) != _etag(entry):
            raise wmtp.ObjectChanged(entry.key)

    def _get(self, entry: wmtp.Entry, start: int, stop: int) -> tuple[Mapping[str, str], Any]:
        """Headers and body of one range: directly, and by boto3 where that does not serve."""
        key, span, etag = self._key(entry.key), f"bytes={start}-{stop - 1}", f'"{_etag(entry)}"'
        version = entry.version.rpartition("/")[0]
        if reader := self._direct():
            query = f"?versionId={quote(version, safe='')}" if version else ""
            if answer := reader.get(key, {"Range": span, "If-Match": etag}, query):
                return answer
        pinned = {"VersionId": version} if version else {}
        found = self._client.get_object(Bucket=self.settings.bucket, Key=key, Range=span, IfMatch=etag, **pinned)
        return HeadersDict(found["ResponseMetadata"]["HTTPHeaders"]), found["Body"]

    def _direct(self) -> RangeReader | None:
        """Made with the first read, when a listing has told boto3 where the bucket really is. boto3 alone checks checksums."""
        if self.settings.response_checksum_validation == "when_supported":
            return None
        with self._lock:
            if not self._reader_made:
                self._reader, self._reader_made = direct(self._client, self._session, self.settings.bucket), True
        return self._reader

    def keeps_versions(self) -> bool:
        """Whether the bucket keeps old versions of its objects, as far as it tells us."""
        try:
            answer = self._client.get_bucket_versioning(Bucket=self.settings.bucket)
        except (ClientError, BotoCoreError):  # no right to know, or a server without versions
            return False
        return bool(answer.get("Status") == "Enabled")

    def put(self, key: str, source: Path | bytes, *, sha256: str) -> wmtp.Entry:
        try:
            if isinstance(source, bytes):
                checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
                self._client.put_object(
                    Bucket=self.settings.bucket,
                    Key=self._key(key),
                    Body=source,
                    Metadata={"sha256": sha256},
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=checksum,
                )
            else:  # in parts where it is large; visible when all of them are there
                self._client.upload_file(
                    str(source), self.settings.bucket, self._key(key), ExtraArgs={"Metadata": {"sha256": sha256}}
                )
            head = self._client.head_object(Bucket=self.settings.bucket, Key=self._key(key))
        except (ClientError, BotoCoreError) as error:
            raise self._failed(f"writing {self._where(key)}", error) from None
        return wmtp.Entry(key=key, size=head["ContentLength"], version=self._pinned(head), sha256=sha256)
