"""The client of one server: openai's, with as many connections as requests, and answers that end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai

import wmtp
from wmtp_openai.settings import OpenAISettings

LARGEST = 64 * 2**20
"""Bytes of an answer as they come over the line. Nobody asks for more; a server that sends on and on is cut off."""
BESIDE = 8
"""Connections beyond those of requests: what a server is, and what it counts, is asked as well."""


def open_client(url: str, settings: OpenAISettings) -> openai.AsyncOpenAI:
    """A client that asks once: whether to ask again is ours to say.

    Raises:
        ConfigError: The address or the key is none that can be used.
    """
    key = _key(settings)
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise wmtp.ConfigError(
            f"{url} is no address ({error}); mend it in model.base_id, or model.loaders.openai.urls"
        ) from None
    most = settings.concurrency + BESIDE
    limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most)
    http = openai.DefaultAsyncHttpxClient(transport=_Bounded(limits=limits))
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=settings.timeout_s, http_client=http)


def _key(settings: OpenAISettings) -> str:
    """The key, or what stands for none: the client insists on one."""
    key = os.environ.get(settings.key_env, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise wmtp.ConfigError(
            f"the environment variable {settings.key_env} holds no key: in it is a line break, or a letter that no header of "
            "HTTP has; set it again (model.loaders.openai.key_env names the variable)"
        )
    return key or "none"


def key_refused(url: str, said: str, settings: OpenAISettings) -> str:
    """What is wrong where a server does not let us in, and what to do."""
    if not os.environ.get(settings.key_env, "").strip():
        return (
            f"{url} wants a key ({said}), and the environment variable {settings.key_env} is not set: set it, or name another "
            "one in model.loaders.openai.key_env"
        )
    return (
        f"{url} does not take the key in the environment variable {settings.key_env} ({said}): set it anew, or name another "
        "one in model.loaders.openai.key_env"
    )


class TooLargeError(httpx2.ReadError):
    """An answer goes on beyond `LARGEST`."""


class _Bounded(httpx2.AsyncHTTPTransport):
    """Ends answers that are larger than any answer, and takes none that was there before its request."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if not _read_since_written(response.extensions["network_stream"]):
            await response.stream.aclose()
            raise httpx2.RemoteProtocolError("an answer was there before its request: it belongs to no request")
        if int(response.headers.get("content-length", LARGEST + 1)) > LARGEST:
            response.stream = _BoundedStream(response.stream)
        return response


def _read_since_written(stream: Any) -> bool:
    """Whether a connection has been read from since it was last written to. Always so of the first answer on it.

    A server may send a second answer behind a first. Where both are read at once, the second lies in the parser's buffer, and
    would be taken for the answer to the next request on that connection.
    """
    if (heard := getattr(stream, "heard_since_written", None)) is not None:
        return bool(heard)
    read, write = stream.read, stream.write

    async def reading(*args: Any, **options: Any) -> Any:
        data = await read(*args, **options)
        stream.heard_since_written = True
        return data

    async def writing(*args: Any, **options: Any) -> None:
        stream.heard_since_written = False
        await write(*args, **options)

    stream.read, stream.write, stream.heard_since_written = reading, writing, True
    return True


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
