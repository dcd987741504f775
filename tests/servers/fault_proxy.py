"""A proxy in front of an S3 server: it counts what is asked and sent, and does one kind of harm at a time."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import attrs

BLOCK = 1 << 16


@attrs.define
class Seen:
    """A request. sent: bytes of the answer's body that were passed on, or were about to be."""

    method: str
    path: str
    range: str
    authorized: bool
    sent: int = 0

    @property
    def lists(self) -> bool:
        return self.method == "GET" and ("list-type=2" in self.path or "versions" in self.path.partition("?")[2])

    @property
    def reads(self) -> bool:
        return self.method == "GET" and not self.lists


@attrs.frozen
class Harm:
    """What to do to an answer instead of passing it on as it is.

    status, code     refuse: an S3 error, without asking the server.
    cut_after        pass on so many bytes of the body, and cut the connection.
    stall_after      pass on so many bytes, and then nothing for `seconds`, and cut.
    shorten          bytes that are missing at the end of the body, and in its Content-Length.
    headers          replaced in the answer.
    whole            the Range of the request is left out, so that all of the object comes.
    """

    status: int | None = None
    code: str = ""
    cut_after: int | None = None
    stall_after: int | None = None
    seconds: float = 0.0
    shorten: int = 0
    whole: bool = False
    headers: dict[str, str] = attrs.field(factory=dict)


Fault = Callable[[Seen], Harm | None]


class FaultProxy(ThreadingHTTPServer):
    """Set `fault` to a function of a request that says which harm it suffers. `seen`: the requests so far."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.seen: list[Seen] = []
        self.fault: Fault = lambda seen: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def listings(self) -> int:
        return sum(seen.lists for seen in self.seen)

    @property
    def reads(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.reads]

    @property
    def bytes_read(self) -> int:
        return sum(seen.sent for seen in self.reads)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed, and connections that are cut, are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _forward(self) -> None:
        seen = Seen(self.command, self.path, self.headers.get("Range", ""), "Authorization" in self.headers)
        self.server.seen.append(seen)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        harm = self.server.fault(seen) or Harm()
        if harm.status is not None:
            self._refuse(harm.status, harm.code)
            return
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # the Host that the client signed, too
                if name.lower() not in ("connection", "expect", "range" if harm.whole else ""):
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            self._answer(connection.getresponse(), harm, seen)
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def _refuse(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told by the proxy</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self, answer: http.client.HTTPResponse, harm: Harm, seen: Seen) -> None:
        self.send_response(answer.status)
        chunked = answer.getheader("Content-Length") is None and self.command != "HEAD" and answer.status != 204
        whole = answer.read() if chunked else None
        replaced = {name.lower() for name in harm.headers}
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length", *replaced}:
                self.send_header(name, value)
        for name, value in harm.headers.items():
            self.send_header(name, value)
        length = len(whole) if whole is not None else int(answer.getheader("Content-Length") or 0)
        self.send_header("Content-Length", str(length - (harm.shorten if self.command != "HEAD" else 0)))
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = length - harm.shorten
        for stop in (harm.cut_after, harm.stall_after):
            limit = min(limit, stop) if stop is not None else limit
        while seen.sent < limit:
            data = (
                (whole or b"")[seen.sent : limit] if whole is not None else answer.read(min(BLOCK, limit - seen.sent))
            )
            if not data:
                break
            seen.sent += len(data)  # before the client can have it, and a test can ask
            self.wfile.write(data)
        if harm.stall_after is not None:
            self.wfile.flush()
            time.sleep(harm.seconds)
        if seen.sent < length - harm.shorten:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(upstream: str) -> Iterator[FaultProxy]:
    proxy = FaultProxy(upstream)
    threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
