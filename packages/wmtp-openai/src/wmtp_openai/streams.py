"""The bytes of a connection, on asyncio's transports: what httpcore2 reads answers from and writes requests into.

Its own streams send the head of a request and its body one after the other, each with a timer, and stop and start the
reading around every answer. That is a third of what a request costs.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore2

WAITING_BYTES = 2**18
"""So much may have come and not been read; then the server is left waiting."""
NEXT_ADDRESS_S = 0.25
"""After so long without a connection, the next address of a name is tried beside it (RFC 8305)."""


class Network(httpcore2.AsyncNetworkBackend):
    """Makes connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> Stream:
        """Raises ConnectTimeout, ConnectError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                _, stream = await loop.create_connection(Stream, host, port, happy_eyeballs_delay=NEXT_ADDRESS_S)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        return stream


class Stream(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """One connection. What is written is sent once somebody reads: head and body of a request together."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._held: list[bytes] = []
        self._came = bytearray()
        self._ended = self._paused = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._poll = select.poll()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._poll.register(transport.get_extra_info("socket"), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self._came += data
        if len(self._came) >= WAITING_BYTES:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended, self._error = True, error
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # Called by httpcore2

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come, at least a byte; none where the server has ended the connection. Raises ReadTimeout, ReadError."""
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()
        if not self._came and not self._ended:
            try:
                await self._more(timeout)
            except TimeoutError as error:
                raise httpcore2.ReadTimeout(str(error)) from error
        if self._error is not None and not self._came:
            raise httpcore2.ReadError(str(self._error)) from self._error
        data = bytes(self._came[:max_bytes])
        del self._came[:max_bytes]
        if self._paused and not self._ended:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _more(self, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        reader = self._reader = loop.create_future()
        alarm = None if timeout is None else loop.call_later(timeout, _too_late, reader)
        try:
            await reader
        finally:
            self._reader = None
            if alarm is not None:
                alarm.cancel()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Takes it on. Who waits for an answer has its own limit of time, which counts for the sending too."""
        self._held.append(buffer)

    async def aclose(self) -> None:
        """At once: whoever closes a connection wants nothing more of what is on its way."""
        if self._transport is not None:
            self._transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Stream:
        """Raises ConnectTimeout, ConnectError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                self._transport = await loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        """``is_readable``: whether there is something to read, the connection's end included."""
        if info == "is_readable":
            return self.unread or self._ended or bool(self._poll.poll(0))
        names = {"ssl_object": "ssl_object", "client_addr": "sockname", "server_addr": "peername", "socket": "socket"}
        return self._transport.get_extra_info(names[info]) if info in names else None

    @property
    def unread(self) -> bool:
        """Whether something has come that nobody has read."""
        return bool(self._came)


def _too_late(reader: asyncio.Future[None]) -> None:
    if not reader.done():
        reader.set_exception(TimeoutError())
