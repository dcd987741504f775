"""Connections to one server: a transport for each, answers that end, and nothing of one answer in the next."""

from __future__ import annotations

import ipaddress
import ssl
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpx2

LARGEST = 64 * 2**20
"""Bytes of an answer as they come over the line. Nobody asks for more; a server that sends on and on is cut off."""
LARGEST_PACKED = 2**18
"""The same of an answer that is compressed: unpacked it can be a thousand times as long, and the client unpacks it whole."""
PACKED = ("gzip", "deflate")
REST_S = 0.02
"""So long a connection rests before it is used again: what a server sends behind an answer is there by then, and is seen."""
READ_BYTES = 2**16
"""The client reads so much at once. Of a longer answer, what follows may lie where nobody can look."""
PARSER = ("_httpcore_stream", "_stream", "_connection", "_h11_state")
"""From the stream of an answer to the parser of its connection, which the library shows to nobody."""


def proxy_of(url: httpx2.URL) -> str | None:
    """The proxy that the environment names for an address: ``HTTP_PROXY`` and its kin, without what ``NO_PROXY`` excepts.

    This machine's own addresses are never behind one: nobody else could reach them.
    """
    if url.host == "localhost" or is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    named = urllib.request.getproxies()
    proxy = named.get(url.scheme) or named.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class TooLargeError(httpx2.ReadError):
    """An answer is larger than an answer may be."""


@attrs.define(eq=False)
class _Connection:
    """A transport that holds one connection at most. free_at: when its last answer ended."""

    transport: httpx2.AsyncHTTPTransport
    free_at: float = 0.0


class Connections(httpx2.AsyncBaseTransport):
    """As many connections as there are requests at once, and a few that rest.

    Each has a transport of its own: a pool of the client looks at all of its connections before and after every request, which
    costs more than the request where there are hundreds.

    Raises:
        ValueError: The proxy is of no kind that can be used.
        ImportError: It is one of SOCKS, and the package that speaks it is missing.
    """

    def __init__(self, proxy: str | None = None) -> None:
        self._tls = httpx2.create_ssl_context()
        self._proxy = proxy
        self._free = deque([self._new()])

    def _new(self) -> _Connection:
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
        return _Connection(httpx2.AsyncHTTPTransport(verify=self._tls, limits=limits, proxy=self._proxy))

    def _next(self) -> _Connection:
        """The one that rests longest, or a new one."""
        if self._free and time.monotonic() - self._free[0].free_at >= REST_S:
            return self._free.popleft()
        return self._new()

    def done(self, connection: _Connection) -> None:
        """It may be used again."""
        connection.free_at = time.monotonic()
        self._free.append(connection)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        connection = self._next()
        try:
            response = await connection.transport.handle_async_request(request)
        except BaseException:
            self.done(connection)
            raise
        tls = response.extensions["network_stream"] if request.url.scheme == "https" else None
        packed = response.headers.get("content-encoding", "identity").strip().lower()
        largest = LARGEST if packed == "identity" else LARGEST_PACKED if packed in PACKED else 0
        response.stream = _Body(self, connection, response.stream, tls, largest)
        return response

    async def aclose(self) -> None:
        while self._free:
            await self._free.popleft().transport.aclose()


class _Body(httpx2.AsyncByteStream):
    """An answer's bytes, as many as an answer may have. Its connection is free once it is closed."""

    def __init__(self, owner: Connections, connection: _Connection, stream: Any, tls: Any, largest: int) -> None:
        self._owner, self._connection, self._stream, self._tls = owner, connection, stream, tls
        self._largest = largest
        self._size, self._closed = 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._size += len(part)
            if self._size > self._largest:
                raise TooLargeError(self._too_large())
            yield part

    def _too_large(self) -> str:
        if self._largest == LARGEST:
            return f"the answer is larger than {LARGEST >> 20} MiB"
        if self._largest:
            return f"the answer is larger than {LARGEST_PACKED >> 10} KiB, compressed"
        return "the answer is compressed in a way that it was not asked for"

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            alone = self._alone()
            await self._stream.aclose()
            if not alone:
                await self._connection.transport.aclose()
        finally:
            self._owner.done(self._connection)

    def _alone(self) -> bool:
        """Whether nothing has been read beyond this answer, as far as can be known.

        HTTP/1.1 has no number on an answer: what a server or proxy sends behind one would be taken for the answer to the next
        request on the connection. What comes later is seen by the client: a connection that rests and has something to read is
        closed.
        """
        parser: Any = self._stream
        for name in PARSER:
            parser = getattr(parser, name, None)
        if parser is None or parser.trailing_data[0] or self._size >= READ_BYTES // 2:
            return False
        return self._tls is None or _all_read(self._tls.get_extra_info("ssl_object"))


def _all_read(tls: ssl.SSLObject) -> bool:
    """Whether a connection under TLS holds nothing more of what has come in."""
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLError:
        return False
    return False
