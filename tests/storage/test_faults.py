"""A real server behind a proxy that does harm, and disks that fail: the right bytes, or an error that says what happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy, Harm, Seen, proxied
from s3_servers import S3Server
from storage_helpers import opened, put

import wmtp
from wmtp.storage import content, transfer
from wmtp.storage.cache import Cache
from wmtp.storage.chain import NotHere
from wmtp.storage.remote import Remote

SIZE = 4 << 20
PIECE = 1 << 20
SECRET = "testing"


class Setting:
    """An object ``models/m/w.bin`` in Swift, read through the proxy into a cache."""

    def __init__(self, proxy: FaultProxy, direct: Any, through: Any, cache: Path) -> None:
        self.proxy, self.direct, self.through, self.cache = proxy, direct, through, cache
        self.replace()

    def replace(self) -> None:
        self.body = os.urandom(SIZE)
        put(self.direct, "models/m/w.bin", self.body)

    def fetch(self) -> wmtp.Resource:
        return Remote(self.through, "s3 there", "models/m/", self.cache, None, None).from_storage()

    def is_right(self) -> bool:
        (entry,) = Cache(self.cache).entries()
        return (entry.path / "w.bin").read_bytes() == self.body

    def is_empty(self) -> bool:
        return list(Cache(self.cache).entries()) == []


@pytest.fixture
def at(
    proxy: FaultProxy,
    swift: S3Server,
    section: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Setting:
    monkeypatch.setattr(content, "PIECE_BYTES", PIECE)
    here = section(swift, read_timeout=1.0)
    return Setting(proxy, opened(here), opened({**here, "endpoint_url": proxy.url}), tmp_path / "cache")


def first_time(harm: Harm) -> Callable[[Seen], Harm | None]:
    """Each piece suffers once."""
    times: Counter[str] = Counter()

    def fault(seen: Seen) -> Harm | None:
        times[seen.range] += 1
        starts_a_piece = seen.reads and int(seen.range.removeprefix("bytes=").partition("-")[0]) % PIECE == 0
        return harm if starts_a_piece and times[seen.range] == 1 else None

    return fault


PASSING = {
    "cut mid-body": Harm(cut_after=1000),
    "cut before the body": Harm(cut_after=0),
    "truncated": Harm(shorten=7),
    "500": Harm(status=500, code="InternalError"),
    "503 SlowDown": Harm(status=503, code="SlowDown"),
    "stall": Harm(stall_after=1000, seconds=1.5),
}


@pytest.mark.parametrize("harm", PASSING.values(), ids=PASSING)
def test_a_passing_fault_ends_in_the_right_bytes(at: Setting, harm: Harm) -> None:
    at.proxy.fault = first_time(harm)
    at.fetch()
    assert at.is_right()
    assert len(at.proxy.reads) >= 2 * SIZE // PIECE
    # What had come before the fault is not fetched again, but for what was on its way.
    assert at.proxy.bytes_read <= SIZE + (SIZE // PIECE) * 1000


def test_what_came_before_a_stall_is_kept(at: Setting) -> None:
    """Not only whole blocks of it."""
    at.proxy.fault = first_time(Harm(stall_after=200_000, seconds=1.5))
    at.fetch()
    assert at.is_right()
    starts = {int(seen.range.removeprefix("bytes=").partition("-")[0]) for seen in at.proxy.reads}
    assert starts == {piece + kept for piece in range(0, SIZE, PIECE) for kept in (0, 200_000)}


LASTING = {
    "500": (Harm(status=500, code="InternalError"), "InternalError"),
    "503 SlowDown": (Harm(status=503, code="SlowDown"), "SlowDown"),
    "expired credentials": (Harm(status=400, code="ExpiredToken"), "ExpiredToken"),
    "no right": (Harm(status=403, code="AccessDenied"), "AccessDenied"),
    "cut": (Harm(cut_after=0), "Connection|IncompleteRead|broken"),
    "stall": (Harm(stall_after=0, seconds=1.5), "[Tt]ime"),
    "truncated to nothing": (Harm(shorten=PIECE), "ended at byte"),
    "another object": (Harm(headers={"ETag": '"another"'}), "changed 3 times"),
    "grown": (Harm(headers={"Content-Range": f"bytes 0-{PIECE - 1}/{SIZE + 1}"}), "changed 3 times|asked for bytes"),
    "another range": (Harm(headers={"Content-Range": f"bytes 5-9/{SIZE}"}), "asked for bytes 0 to 1048576 of 4194304"),
    "compressed on the way": (Harm(shorten=1000, headers={"Content-Encoding": "gzip"}), "encoded on the way"),
    "an echo of what was sent": (Harm(status=400, code=f"You said {SECRET}"), r"You said \*\*\*"),
}


@pytest.mark.parametrize(("harm", "says"), LASTING.values(), ids=LASTING)
def test_a_lasting_fault_is_told_and_leaves_no_entry(
    at: Setting, harm: Harm, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "RETRIES", 2)
    at.proxy.fault = lambda seen: harm if seen.reads else None
    with pytest.raises(NotHere, match=says) as caught:
        at.fetch()
    assert SECRET not in str(caught.value)
    assert at.is_empty()
    at.proxy.fault = lambda seen: None
    at.fetch()
    assert at.is_right()


def test_a_page_to_log_in_is_no_object(at: Setting) -> None:
    """What a gateway answers in the server's place is longer than a small object, and would be cut to its length."""
    page = b"<html>please log in</html>" * 400

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        section = {"bucket": "b", "region": "us-east-1", "addressing_style": "path"}
        there = opened({**section, "endpoint_url": f"http://127.0.0.1:{server.server_address[1]}"})
        with pytest.raises(OSError, match=r"without ETag and Content-Range \(text/html\)"):
            list(there.read(wmtp.Entry(key="small", size=300, version="etag"), 0, 300))
    finally:
        server.shutdown()
        server.server_close()


def test_an_object_that_is_replaced_midway_is_started_again(at: Setting) -> None:
    old, once = at.body, threading.Event()

    def replace(seen: Seen) -> None:
        if seen.reads and len(at.proxy.reads) == 3 and not once.is_set():
            once.set()
            at.replace()

    at.proxy.fault = replace  # type: ignore[assignment]
    at.fetch()
    assert at.body != old
    assert at.is_right()
    assert at.proxy.listings == 2


def test_an_object_that_keeps_changing_is_given_up(at: Setting) -> None:
    at.proxy.fault = lambda seen: at.replace() if seen.reads and seen.range.startswith("bytes=0-") else None  # type: ignore[func-returns-value]
    with pytest.raises(NotHere, match="changed 3 times"):
        at.fetch()
    assert at.is_empty()


def test_an_object_that_is_deleted_midway_is_not_there(at: Setting) -> None:
    def delete(seen: Seen) -> None:
        if seen.reads and len(at.proxy.reads) == 2:
            at.direct._client.delete_object(Bucket=at.direct.settings.bucket, Key="here/models/m/w.bin")

    at.proxy.fault = delete  # type: ignore[assignment]
    with pytest.raises(NotHere, match="nothing under models/m/"):
        at.fetch()
    assert at.is_empty()


def test_a_server_that_ignores_if_match_is_found_out(
    rclone: S3Server, section: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """rclone does, and its listings leave out the quotes of an ETag."""
    storage = opened(section(rclone))
    old = put(storage, "k", b"the old one")
    put(storage, "k", b"the new one, longer")
    with pytest.raises(wmtp.ObjectChanged):
        list(storage.read(old, 0, old.size))


def test_a_server_that_ignores_ranges_is_found_out(moto: S3Server, section: Callable[..., dict[str, Any]]) -> None:
    """moto takes any signature, so that the proxy may take the Range away."""
    with proxied(moto.url) as proxy:
        storage = opened({**section(moto), "endpoint_url": proxy.url})
        entry = put(storage, "k", b"0123456789")
        proxy.fault = lambda seen: Harm(whole=True) if seen.reads else None
        assert b"".join(storage.read(entry, 0, 10)) == b"0123456789"
        with pytest.raises(OSError, match="asked for bytes 4 to 8"):
            list(storage.read(entry, 4, 8))
        storage._reader = None  # and so for boto3
        with pytest.raises(OSError, match="asked for bytes 4 to 8"):
            list(storage.read(entry, 4, 8))


def test_a_listing_that_fails_is_told(at: Setting) -> None:
    for code in ("ExpiredToken", "AccessDenied", "NoSuchBucket"):
        at.proxy.fault = lambda seen, code=code: Harm(status=400, code=code) if seen.lists else None  # type: ignore[misc]
        with pytest.raises(NotHere, match=rf"cannot be listed: listing s3://.*{code}") as caught:
            at.fetch()
        assert SECRET not in str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two MiB of memory as a file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "wmtp-tests", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"only root may mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_same_call_goes_on(
    at: Setting, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "WORKERS", 1)  # one whole piece, and part of the next
    at.cache = small_disk / "cache"
    with pytest.raises(NotHere, match="No space left on device") as full:
        at.fetch()
    assert full.value.advice.startswith("Free space")
    assert at.is_empty()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    at.proxy.seen.clear()
    at.fetch()
    assert at.is_right()
    assert at.proxy.bytes_read < SIZE, "what was there was kept"


def test_a_disk_that_fills_up_between_small_files_is_told(at: Setting, small_disk: Path) -> None:
    at.cache = small_disk / "cache"
    for index in range(8):
        put(at.direct, f"models/small/{index}", os.urandom(PIECE // 2))
    remote = Remote(at.through, "s3 there", "models/small/", at.cache, None, None)
    with pytest.raises(NotHere, match="No space left on device"):
        remote.from_storage()
    assert at.is_empty()


READ_ONLY = """
import json, os, sys
from pathlib import Path
from wmtp.storage.chain import NotHere
from wmtp.storage.remote import Remote
from wmtp_s3 import create_s3_manager
storage = create_s3_manager({"storage": {"mode": "s3", "s3": json.loads(sys.argv[1])}})
def remote(prefix):
    return Remote(storage, "s3 there", prefix, Path(sys.argv[2]), None, None)
for entry in storage.list("models/"):  # loads what is loaded late, while its files can be read
    list(storage.read(entry, 0, 1))
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(remote("models/m/").from_cache().source)
try:
    remote("models/other/").from_storage()
except NotHere as absent:
    print(absent)
"""


def test_a_read_only_cache_serves_and_is_not_written(at: Setting, tmp_path: Path) -> None:
    at.fetch()
    put(at.direct, "models/other/x", b"x")
    before = sorted(at.cache.rglob("*"))
    for place, _, _ in os.walk(at.cache):
        os.chmod(place, 0o555)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path(tempfile.gettempdir()) and folder.is_relative_to(tempfile.gettempdir()):
            os.chmod(folder, 0o755)
    section = {name: getattr(at.through.settings, name) for name in ("bucket", "region", "prefix", "endpoint_url")}
    command = [sys.executable, "-c", READ_ONLY, json.dumps({**section, "addressing_style": "path"}), str(at.cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    served, refused = done.stdout.splitlines()
    assert served == "cache"
    assert "cannot be written" in refused
    assert "Permission denied" in refused
    assert sorted(at.cache.rglob("*")) == before


FAILING_SYNC = """
import os, sys
from pathlib import Path
from wmtp.storage import transfer
from wmtp.storage.cache import Cache
from wmtp.testing import MemoryStorage
def fail(descriptor):
    raise OSError(5, "Input/output error")
os.fsync = fail
storage = MemoryStorage({"m/a": b"x" * 100})
transfer.download(storage, list(storage.list("m/")), "m/", Cache(Path(sys.argv[1])), "source")
"""


def test_nothing_is_kept_of_what_the_disk_did_not_take(tmp_path: Path) -> None:
    """After a failed fsync the kernel may have dropped what the journal vouches for."""
    done = subprocess.run(
        [sys.executable, "-c", FAILING_SYNC, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "Input/output error" in done.stderr
    assert list(Cache(tmp_path).entries()) == []
    assert list((tmp_path / "building").glob("*.*.*.*")) == []


def test_one_proxy_does_no_harm_by_itself(swift: S3Server, at: Setting) -> None:
    with proxied(swift.url) as proxy:
        there = opened({name: getattr(at.direct.settings, name) for name in ("bucket", "region", "prefix")} | {
            "endpoint_url": proxy.url, "addressing_style": "path"})  # fmt: skip
        (entry,) = there.list("models/m/")
        assert b"".join(there.read(entry, 0, entry.size)) == at.body
        assert proxy.bytes_read == SIZE
        assert all(seen.authorized for seen in proxy.seen)
