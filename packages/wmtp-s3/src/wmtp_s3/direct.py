"""Ranged GETs without the rest of boto3: signed by botocore's signer, sent through the client's own connections.

boto3's `get_object` spends about 2.5 ms of CPU on a request: parameters, endpoint rules, events, parsing. Reading a range
needs none of that again once an address in the bucket is known. What does not go as it should is left to boto3: its
retries, its redirects, its errors.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.response import StreamingBody

PATIENCE_S = 0.5
"""Seconds after which what has come of a piece is handed on: a slow connection is seen to move, and a cut one loses little."""
_PROBE = "k"
_SHORT = 1 << 16  # bytes of an answer that are read, so that its connection serves the next request


class RangeReader:
    """GET requests to one bucket. Safe to use from several threads."""

    def __init__(self, http: Any, credentials: Any, base: str, region: str) -> None:
        """http: botocore's session of connections. credentials: botocore's, refreshable or not. base: the bucket's URL."""
        self._http, self._credentials, self._base, self._region = http, credentials, base, region

    def get(
        self, key: str, headers: Mapping[str, str], query: str = ""
    ) -> tuple[Mapping[str, str], StreamingBody] | None:
        """Headers and body of an answer with status 200 or 206; ``None`` for anything else: ask boto3."""
        url = f"{self._base}{quote(key, safe='/~')}{query}"
        request = AWSRequest("GET", url, headers=dict(headers), stream_output=True)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        try:
            answer = self._http.send(request.prepare())
        except BotoCoreError:
            return None
        if answer.status_code not in (200, 206):
            try:
                if int(answer.headers.get("Content-Length") or _SHORT) < _SHORT:
                    _ = answer.content
            except (BotoCoreError, OSError, ValueError):
                pass  # it was only to spare a connection
            answer.raw.close()
            return None
        return answer.headers, StreamingBody(answer.raw, answer.headers.get("Content-Length"))


def direct(client: Any, session: Any, bucket: str) -> RangeReader | None:
    """For a client of this boto3 session. ``None`` where it would not do: no credentials, a bucket with its own kind of
    signatures, a botocore that keeps its connections elsewhere."""
    credentials = session.get_credentials()
    http = getattr(getattr(client, "_endpoint", None), "http_session", None)
    if credentials is None or http is None:
        return None
    # boto3's own rules say where the bucket is, and for which region and service a request to it is signed.
    parts = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE}))
    scope = parse_qs(parts.query).get("X-Amz-Credential", [""])[0].split("/")
    if len(scope) != 5 or scope[3] != "s3" or not parts.path.endswith(f"/{_PROBE}"):
        return None
    base = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix(_PROBE)}"
    return RangeReader(http, credentials, base, scope[2])


def filled(body: StreamingBody, buffer: memoryview) -> Iterator[int]:
    """Puts a body into `buffer`, piece over piece, and yields the length of each: all of it, or what came in `PATIENCE_S`.

    http.client puts it there itself, where it can be reached and the length is known; urllib3 and botocore, which stand before
    it, read into new memory. Raises OSError, HTTPException, BotoCoreError, after what had come before.
    """
    raw: Any = getattr(body, "_raw_stream", None)
    answer = getattr(raw, "_fp", None)
    if (
        type(body) is not StreamingBody
        or not isinstance(answer, HTTPResponse)
        or answer.chunked
        or answer.length is None
    ):
        while data := body.read(len(buffer)):
            buffer[: len(data)] = data
            yield len(data)
        return
    while answer.length:
        failure: OSError | HTTPException | None = None
        count, until = 0, time.monotonic() + PATIENCE_S
        while count < min(len(buffer), answer.length) and time.monotonic() < until:
            try:
                came = answer.fp.readinto1(buffer[count : min(len(buffer), answer.length)])
            except OSError as error:
                came, failure = 0, error
            if not came:
                failure = failure or IncompleteRead(b"", answer.length - count)
                break
            count += came
        answer.length -= count
        if not answer.length:
            answer.close()
            raw.release_conn()  # for the next request
        if count:
            yield count
        if failure:
            raise failure
