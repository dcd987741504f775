"""Transfers through a server that misbehaves: the right bytes, or an error that says what happened. Never a wrong file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

import wmtp
from wmtp.storage import content, transfer
from wmtp.storage.cache import Cache
from wmtp.storage.journal import Journal

pytest.importorskip("boto3")
SIZE = 8 << 20
RANGE = 1 << 20


class Server:
    """One object behind enough of S3's protocol to list it and read its ranges, and one fault at a time."""

    def __init__(self) -> None:
        self.body = os.urandom(SIZE)
        self.sent = self.requests = 0
        self.quoted = True
        self.seen: Counter[str] = Counter()
        self.fault: Callable[[Handler, int, int], bool] = lambda handler, start, stop: False

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests look at what was counted."""

    def do_GET(self) -> None:
        state = self.state
        if "list-type=2" in self.path:
            etag = escape(state.etag if state.quoted else state.etag[1:-1])
            self.answer(
                200,
                f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>w.bin</Key>'
                f"<Size>{len(state.body)}</Size><ETag>{etag}</ETag></Contents></ListBucketResult>".encode(),
            )
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert match
        start, stop = int(match[1]), int(match[2]) + 1
        state.requests += 1
        state.seen[self.headers["Range"]] += 1
        if state.fault(self, start, stop):
            return
        if self.headers["If-Match"] != state.etag:
            self.refuse(412, "PreconditionFailed")
            return
        state.sent += stop - start
        self.answer(206, state.body[start:stop], state.etag)

    def answer(self, status: int, body: bytes, etag: str = "", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def cut(self, body: bytes, length: int) -> None:
        self.answer(206, body, self.state.etag, length)
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that we cut ourselves are no news."""


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    state = Server()
    handler = type("Bound", (Handler,), {"state": state})
    http = Quiet(("127.0.0.1", 0), handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield state, f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


@pytest.fixture
def fetch(server: tuple[Server, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    from wmtp_s3 import create_s3_manager

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    monkeypatch.setattr(content, "PIECE_BYTES", RANGE)
    s3 = {
        "bucket": "b", "region": "us-east-1", "endpoint_url": server[1], "addressing_style": "path", "retries": 1,
        "read_timeout": 0.5,
    }  # fmt: skip
    storage = create_s3_manager({"storage": {"mode": "s3", "s3": s3}})
    assert storage is not None

    def run(cache: Path = tmp_path / "cache", entries: list[wmtp.Entry] | None = None) -> Any:
        return transfer.download(storage, entries or list(storage.list("")), "", Cache(cache), "source")

    run.storage = storage  # type: ignore[attr-defined]
    return run


def once_a_range(server: Server, work: Callable[[Handler, int, int], None]) -> None:
    def fault(handler: Handler, start: int, stop: int) -> bool:
        if server.seen[handler.headers["Range"]] == 1 and start % RANGE == 0:
            work(handler, start, stop)
            return True
        return False

    server.fault = fault


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda h, a, z: h.cut(h.state.body[a : a + 1000], z - a), id="cut mid-body"),
        pytest.param(lambda h, a, z: h.cut(b"", z - a), id="cut before the body"),
        pytest.param(lambda h, a, z: h.answer(206, h.state.body[a : z - 7], h.state.etag), id="truncated"),
        pytest.param(lambda h, a, z: h.refuse(500, "InternalError"), id="500"),
        pytest.param(lambda h, a, z: h.refuse(503, "SlowDown"), id="503 SlowDown"),
        pytest.param(lambda h, a, z: (threading.Event().wait(1), h.cut(b"", 0)), id="stall"),
    ],
)
def test_passing_faults_end_in_the_right_bytes(
    server: tuple[Server, str], fetch: Callable[..., Any], fault: Callable[[Handler, int, int], None]
) -> None:
    once_a_range(server[0], fault)
    entry = fetch()
    assert (entry.path / "w.bin").read_bytes() == server[0].body
    assert server[0].requests >= 2 * SIZE // RANGE


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (400, "ExpiredToken"), (403, "AccessDenied"), (503, "SlowDown")]
)
def test_lasting_faults_are_told_and_leave_no_entry(
    server: tuple[Server, str], fetch: Callable[..., Any], tmp_path: Path, status: int, code: str
) -> None:
    def refuse(handler: Handler, start: int, stop: int) -> bool:
        handler.refuse(status, code)
        return True

    server[0].fault = refuse
    with pytest.raises(wmtp.ResourceError, match=code) as caught:
        fetch()
    assert "secret-of-the-tests" not in str(caught.value)
    assert list(Cache(tmp_path / "cache").entries()) == []


def test_an_object_replaced_midway_is_never_stitched(
    server: tuple[Server, str], fetch: Callable[..., Any], tmp_path: Path
) -> None:
    def replace(handler: Handler, start: int, stop: int) -> bool:
        if server[0].requests == 4:
            server[0].body = os.urandom(SIZE)
        return False

    server[0].fault = replace
    with pytest.raises(wmtp.Changed):
        fetch()
    assert list(Cache(tmp_path / "cache").entries()) == []
    assert (fetch().path / "w.bin").read_bytes() == server[0].body


def test_a_server_that_ignores_if_match_is_found_out_by_its_etag(
    server: tuple[Server, str], fetch: Callable[..., Any]
) -> None:
    def other(handler: Handler, start: int, stop: int) -> bool:
        handler.answer(206, bytes(stop - start), '"another"')
        return True

    server[0].fault = other
    with pytest.raises(wmtp.Changed):
        fetch()


def test_a_listing_may_leave_out_the_quotes_of_an_etag(server: tuple[Server, str], fetch: Callable[..., Any]) -> None:
    server[0].quoted = False
    assert (fetch().path / "w.bin").read_bytes() == server[0].body


def test_what_is_journalled_is_not_fetched_again(server: tuple[Server, str], fetch: Callable[..., Any]) -> None:
    def last_fails(handler: Handler, start: int, stop: int) -> bool:
        if start >= SIZE - RANGE:
            threading.Event().wait(0.3)  # the others are done by then
            handler.refuse(403, "AccessDenied")
            return True
        return False

    server[0].fault = last_fails
    pinned = list(fetch.storage.list(""))  # type: ignore[attr-defined]
    script = (
        "import sys, json; from pathlib import Path; import wmtp; from wmtp.storage import content, transfer;"
        "from wmtp.storage.cache import Cache; from wmtp_s3 import create_s3_manager;"
        "content.PIECE_BYTES = 1 << 20; s = create_s3_manager(json.loads(sys.argv[1]));"
        "transfer.download(s, list(s.list('')), '', Cache(Path(sys.argv[2])), 'source')"
    )
    section = {"bucket": "b", "region": "us-east-1", "endpoint_url": server[1], "addressing_style": "path"}
    with tempfile.TemporaryDirectory() as name:
        config = json.dumps({"storage": {"mode": "s3", "s3": section}})
        dead = subprocess.run([sys.executable, "-c", script, config, name], capture_output=True, text=True, check=False)
        assert dead.returncode != 0
        assert "AccessDenied" in dead.stderr
        server[0].fault = lambda handler, start, stop: False
        server[0].sent = 0
        entry = fetch(Path(name), pinned)
        assert (entry.path / "w.bin").read_bytes() == server[0].body
        assert server[0].sent == RANGE


def test_wrong_content_is_refused_and_the_next_call_starts_afresh(tmp_path: Path) -> None:
    from wmtp.testing import MemoryStorage

    right, wrong = b"right", b"wrong"
    storage = MemoryStorage({"a": wrong})
    (entry,) = storage.list("")
    pinned = wmtp.Entry(entry.key, entry.size, entry.version, hashlib.sha256(right).hexdigest())
    cache = Cache(tmp_path / "cache")
    with pytest.raises(wmtp.ResourceError, match="not what the store says"):
        transfer.download(storage, [pinned], "", cache, "source")
    assert list(cache.entries()) == []
    assert list((cache.root / "building").glob("*.*.*.*")) == []


def test_an_uploaded_set_is_checked_against_its_manifest(tmp_path: Path) -> None:
    from wmtp.storage.local import LocalStorage

    run = tmp_path / "run"
    run.mkdir()
    (run / "samples.jsonl").write_bytes(b"{}\n")
    store = tmp_path / "store"
    store.mkdir()
    storage = LocalStorage(store)
    transfer.upload(storage, run, "runs/one/")
    whole = transfer.download(storage, list(storage.list("runs/one/")), "runs/one/", Cache(tmp_path / "a"), "s")
    assert (whole.path / "samples.jsonl").read_bytes() == b"{}\n"
    (store / "runs/one/samples.jsonl").write_bytes(b"[]\n")
    with pytest.raises(wmtp.ResourceError, match="not what was uploaded"):
        transfer.download(storage, list(storage.list("runs/one/")), "runs/one/", Cache(tmp_path / "b"), "s")


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file where the cache's folder should be: fails for root too, whom permissions do not stop."""
    from wmtp.storage.chain import NotHere
    from wmtp.storage.remote import Remote
    from wmtp.testing import MemoryStorage

    (tmp_path / "cache").write_bytes(b"")
    remote = Remote(MemoryStorage({"models/m/w": b"x"}), "mem", "models/m/", tmp_path / "cache", None, None)
    with pytest.raises(NotHere, match="cannot be written"):
        remote.from_storage()


def test_a_journal_of_another_boot_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, 1)
    journal.add("a", 0, "0a")
    journal.close()
    with path.open("a") as file:
        file.write('["b", 1')  # torn
    again = Journal(path, 1)
    again.add("c", 2, "0c")
    again.close()
    assert Journal(path, 1).done == {("a", 0): "0a", ("c", 2): "0c"}
    path.write_text('{"boot": "before", "range_bytes": 1}\n["a", 0, "0a"]\n')
    assert Journal(path, 1).done == {}
