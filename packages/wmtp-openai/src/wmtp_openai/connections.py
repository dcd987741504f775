"""Connections to one server: a transport for each, answers that end, and nothing of one answer in the next."""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpx2

LARGEST = 64 * 2**20
"""Bytes of an answer as they come over the line. Nobody asks for more; a server that sends on and on is cut off."""
REST_S = 0.02
"""So long a connection rests before it is used again: what a server sends behind an answer is there by then, and is seen."""
READ_BYTES = 2**16
"""The client reads so much at once. Of a longer answer, what follows may lie where nobody can look."""
PARSER = ("_httpcore_stream", "_stream", "_connection", "_h11_state")
"""From the stream of an answer to the parser of its connection, which the library shows to nobody."""


class TooLargeError(httpx2.ReadError):
    """An answer goes on beyond `LARGEST`."""


@attrs.define(eq=False)
class _Connection:
    """A transport that holds one connection at most. free_at: when its last answer ended."""

    transport: httpx2.AsyncHTTPTransport
    free_at: float = 0.0


class Connections(httpx2.AsyncBaseTransport):
    """As many connections as there are requests at once, and a few that rest.

    Each has a transport of its own: a pool of the client looks at all of its connections before and after every request, which
    costs more than the request where there are hundreds.
    """

    def __init__(self) -> None:
        self._tls = httpx2.create_ssl_context()
        self._free: deque[_Connection] = deque()

    def _next(self) -> _Connection:
        """The one that rests longest, or a new one."""
        if self._free and time.monotonic() - self._free[0].free_at >= REST_S:
            return self._free.popleft()
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
        return _Connection(httpx2.AsyncHTTPTransport(verify=self._tls, limits=limits))

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
        response.stream = _Body(self, connection, response.stream, tls)
        return response

    async def aclose(self) -> None:
        while self._free:
            await self._free.popleft().transport.aclose()


class _Body(httpx2.AsyncByteStream):
    """An answer's bytes, as many as an answer may have. Its connection is free once it is closed."""

    def __init__(self, owner: Connections, connection: _Connection, stream: Any, tls: Any) -> None:
        self._owner, self._connection, self._stream, self._tls = owner, connection, stream, tls
        self._size, self._closed = 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._size += len(part)
            if self._size > LARGEST:
                raise TooLargeError(f"the answer is larger than {LARGEST >> 20} MiB")
            yield part

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
