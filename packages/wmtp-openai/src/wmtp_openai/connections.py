"""Connections to one server: answers that end, and nothing of one answer in the next."""

from __future__ import annotations

import importlib
import ipaddress
import time
import urllib.request
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpcore2
import httpx2

from wmtp_openai.streams import Network, Stream

LARGEST = 64 * 2**20
"""Bytes of an answer as they come over the line. Nobody asks for more; a server that sends on and on is cut off."""
LARGEST_PACKED = 2**18
"""The same of an answer that is compressed: unpacked it can be a thousand times as long, and the client unpacks it whole."""
PACKED = ("gzip", "deflate")
REST_S = 0.02
"""So long a connection rests before it is used again: what a server sends behind an answer is there by then, and is seen."""
KEPT_S = 5.0
"""After so long without a request a connection is not used again: a server may be about to end it."""
PARSER = ("_connection", "_h11_state")
"""From the stream of an answer to the parser of its connection, which the library shows to nobody."""
FAILURES = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)
"""What the library raises where a request gets no answer. `httpx2` has the same, of the same names."""


def proxy_of(url: httpx2.URL) -> str | None:
    """The proxy that the environment names for an address: ``HTTP_PROXY`` and its kin, without what ``NO_PROXY`` excepts.

    This machine's own addresses are never behind one: nobody else could reach them.
    """
    if _is_of_this_machine(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    named = urllib.request.getproxies()
    proxy = named.get(url.scheme) or named.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _is_of_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class TooLargeError(httpx2.ReadError):
    """An answer is larger than an answer may be."""


@attrs.define(eq=False)
class _Connection:
    """One connection. free: those to the same address that rest; free_at: since when it does."""

    free: deque[_Connection]
    http: httpcore2.AsyncConnectionInterface
    free_at: float = 0.0

    def rest(self) -> None:
        """Its answer has ended: it may be used again, if it is open still."""
        if self.http.is_available():
            self.free_at = time.monotonic()
            self.free.append(self)


class Connections(httpx2.AsyncBaseTransport):
    """As many connections as there are requests at once, and a few that rest.

    A pool of the library makes them, and knows of none: it would look at all of its connections before and after every request,
    which costs more than the request where there are hundreds.

    Raises:
        ValueError: The proxy is of no kind that can be used.
        ImportError: It is one of SOCKS, and the package that speaks it is missing.
    """

    def __init__(self, proxy: str | None = None) -> None:
        self._maker = _maker(httpx2.Proxy(proxy) if proxy else None)
        self._free: defaultdict[tuple[bytes, bytes, int | None], deque[_Connection]] = defaultdict(deque)

    async def _next(self, url: httpcore2.URL) -> _Connection:
        """The one that rests longest, or a new one. None on which something waits that belongs to no request."""
        free = self._free[url.scheme, url.host, url.port]
        while free and time.monotonic() - free[0].free_at >= REST_S:
            resting = free.popleft()
            if resting.http.is_available() and not resting.http.has_expired():
                return resting
            await resting.http.aclose()
        return _Connection(free, self._maker.create_connection(url.origin))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        if url.scheme not in ("http", "https"):
            raise httpx2.UnsupportedProtocol(f"it sends requests on to an address of {url.scheme or 'no scheme'!r}")
        asked = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        connection = await self._next(asked.url)
        try:
            answer = await connection.http.handle_async_request(asked)
        except FAILURES as error:
            raise _of_the_client(error) from None
        body = _Body(connection, answer.stream, answer.extensions["network_stream"])
        response = httpx2.Response(
            status_code=answer.status, headers=answer.headers, stream=body, extensions=answer.extensions
        )
        packed = response.headers.get("content-encoding", "identity").strip().lower()
        body.largest = LARGEST if packed in ("", "identity") else LARGEST_PACKED if packed in PACKED else 0
        return response

    async def aclose(self) -> None:
        for free in self._free.values():
            while free:
                await free.popleft().http.aclose()


def _maker(proxy: httpx2.Proxy | None) -> httpcore2.AsyncConnectionPool:
    """What makes connections, through a proxy where there is one."""
    known: dict[str, Any] = {
        "ssl_context": httpx2.create_ssl_context(), "keepalive_expiry": KEPT_S, "network_backend": Network(),
    }  # fmt: skip
    if proxy is None:
        return httpcore2.AsyncConnectionPool(**known)
    known |= {"proxy_url": str(proxy.url), "proxy_auth": proxy.raw_auth}
    if proxy.url.scheme.startswith("socks"):
        importlib.import_module("socksio")  # the library would look for it at the first request

        return httpcore2.AsyncSOCKSProxy(**known)
    return httpcore2.AsyncHTTPProxy(**known)


class _Body(httpx2.AsyncByteStream):
    """An answer's bytes, as many as an answer may have. Its connection is free once it is closed."""

    def __init__(self, connection: _Connection, parts: Any, stream: Stream) -> None:
        self._connection, self._parts, self._stream = connection, parts, stream
        self.largest, self._size, self._closed = LARGEST, 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._parts:
                self._size += len(part)
                if self._size > self.largest:
                    raise TooLargeError(self._too_large())
                yield part
        except FAILURES as error:
            raise _of_the_client(error) from None

    def _too_large(self) -> str:
        if self.largest == LARGEST:
            return f"the answer is larger than {LARGEST >> 20} MiB"
        if self.largest:
            return f"the answer is larger than {LARGEST_PACKED >> 10} KiB, compressed"
        return "the answer is compressed in a way that it was not asked for"

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        alone = self._alone()
        await self._parts.aclose()
        if alone:
            self._connection.rest()
        else:
            await self._connection.http.aclose()

    def _alone(self) -> bool:
        """Whether nothing has come beyond this answer, as far as can be known.

        HTTP/1.1 has no number on an answer: what a server or proxy sends behind one would be taken for the answer to the next
        request on the connection. What comes later is seen before the connection is used again.
        """
        parser: Any = self._parts
        for name in PARSER:
            parser = getattr(parser, name, None)
        return parser is not None and not parser.trailing_data[0] and not self._stream.unread


def _of_the_client(error: Exception) -> Exception:
    """The client's error of the same name, and nothing behind it: people are told the innermost one."""
    kind: type[Exception] = getattr(httpx2, type(error).__name__)
    return kind(str(error))
