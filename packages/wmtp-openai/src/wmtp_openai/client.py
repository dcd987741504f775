"""The client of one server: openai's, with as many connections as requests, and answers that end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import openai

from wmtp_openai.settings import OpenAISettings

LARGEST = 64 * 2**20
"""Bytes of an answer as they come over the line. Nobody asks for more; a server that sends on and on is cut off."""
BESIDE = 8
"""Connections beyond those of requests: what a server is, and what it counts, is asked as well."""


def open_client(url: str, key: str, settings: OpenAISettings) -> openai.AsyncOpenAI:
    """A client that asks once: whether to ask again is ours to say."""
    most = settings.concurrency + BESIDE
    limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most)
    http = openai.DefaultAsyncHttpxClient(transport=_Bounded(limits=limits))
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=settings.timeout_s, http_client=http)


class TooLargeError(httpx2.ReadError):
    """An answer goes on beyond `LARGEST`."""


class _Bounded(httpx2.AsyncHTTPTransport):
    """Ends answers that are larger than any answer."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream)
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > LARGEST:
                raise TooLargeError(f"the answer is larger than {LARGEST >> 20} MiB")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
