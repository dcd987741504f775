"""Real S3 servers on loopback: OpenStack Swift (authentication, versions), rclone (throughput), moto (checksums).

moto and rclone come with requirements-dev.txt. Swift lives in an environment of its own, ``make servers``, since its
dependencies are nobody else's business.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parents[2]
SWIFT_BIN = ROOT / ".venv-servers/bin"


class Missing(Exception):  # noqa: N818
    """The server is not installed; the text is the command that brings it."""


@attrs.frozen
class S3Server:
    """A server that runs. url: of its S3 API. Its credentials are right ones, which it may or may not check."""

    kind: str
    url: str
    access_key: str
    secret_key: str

    def client(self, secret_key: str | None = None) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"max_attempts": 2},
                request_checksum_calculation="when_required",
            ),
        )

    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


_taken = 0


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free. Below those that the kernel hands out, and not those that another of
    pytest's workers is about to use."""
    global _taken
    for attempt in range(100):
        first = 16_000 + (os.getpid() + attempt * 97) % 1000 * 16 + _taken
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            _taken += count
            return first
    raise AssertionError("no free ports")


@contextmanager
def running(
    commands: Sequence[Sequence[str | Path]], ports: Sequence[int], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Processes that listen on these ports; ended with all that they started."""
    with log.open("wb") as out, ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
            stack.callback(_end, process)
        deadline = time.monotonic() + 60
        for port in ports:
            while not _listens(port):
                if time.monotonic() > deadline:
                    raise AssertionError(f"nothing listens on port {port}:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.05)
        yield


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, 15)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait(10)


@contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    port = free_ports(1)
    with running([[sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]], [port], folder / "log"):
        yield S3Server("moto", f"http://127.0.0.1:{port}", "key-of-the-tests", "secret-of-the-tests")


@contextmanager
def rclone_server(folder: Path) -> Iterator[S3Server]:
    """Serves ``folder/served``: buckets are its folders, and objects files, which tests may write themselves."""
    program = shutil.which("rclone", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        raise Missing("pip install -c constraints.txt -r requirements-dev.txt")
    served, port = folder / "served", free_ports(1)
    served.mkdir()
    command = [
        program,
        "serve",
        "s3",
        str(served),
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        "rclone,secret-of-rclone",
    ]
    with running([[*command, "--config", os.devnull]], [port], folder / "log"):
        yield S3Server("rclone", f"http://127.0.0.1:{port}", "rclone", "secret-of-rclone")


PIPELINE = (
    "catch_errors cache listing_formats s3api tempauth copy dlo versioned_writes symlink slo proxy-server"
)  # fmt: skip
FILTERS: dict[str, dict[str, str]] = {
    "tempauth": {"user_test_tester": "testing .admin", "storage_url_scheme": "http"},
    "s3api": {"s3_acl": "false", "location": "us-east-1"},
    "versioned_writes": {"allow_versioned_writes": "true", "allow_object_versioning": "true"},
    "cache": {"use": "egg:swift#memcache", "memcache_servers": "127.0.0.1:9"},
    **{name: {} for name in ("slo", "dlo", "copy", "symlink", "listing_formats", "catch_errors")},
}


@contextmanager
def swift_server(folder: Path) -> Iterator[S3Server]:
    """One proxy, account, container and object server, on a file system with extended attributes."""
    if not (SWIFT_BIN / "swift-proxy-server").exists():
        raise Missing("make servers")
    first = free_ports(4)
    etc, devices = folder / "etc", folder / "devices"
    etc.mkdir()
    (devices / "disk").mkdir(parents=True)
    _write_ini(
        etc / "swift.conf",
        {
            "swift-hash": {"swift_hash_path_suffix": "a", "swift_hash_path_prefix": "b"},
            "storage-policy:0": {"name": "gold", "default": "yes"},
        },
    )
    user = __import__("pwd").getpwuid(os.getuid()).pw_name
    common = {"bind_ip": "127.0.0.1", "workers": "0", "user": user, "swift_dir": str(etc), "log_address": ""}
    for offset, name in enumerate(("account", "container", "object"), 1):
        port = str(first + offset)
        server = {
            **common,
            "bind_port": port,
            "devices": str(devices),
            "mount_check": "false",
            "disable_fallocate": "true",
        }
        _write_ini(
            etc / f"{name}-server.conf",
            {
                "DEFAULT": server,
                "pipeline:main": {"pipeline": f"{name}-server"},
                f"app:{name}-server": {"use": f"egg:swift#{name}"},
            },
        )
        ring = str(etc / f"{name}.builder")
        for step in (["create", "2", "1", "1"], ["add", f"r1z1-127.0.0.1:{port}/disk", "1"], ["rebalance"]):
            subprocess.run([SWIFT_BIN / "swift-ring-builder", ring, *step], check=True, capture_output=True)
    _write_ini(
        etc / "proxy-server.conf",
        {
            "DEFAULT": {**common, "bind_port": str(first)},
            "pipeline:main": {"pipeline": PIPELINE},
            "app:proxy-server": {
                "use": "egg:swift#proxy", "account_autocreate": "true", "allow_account_management": "true",
            },
            **{f"filter:{name}": {"use": f"egg:swift#{name}", **options} for name, options in FILTERS.items()},
        },
    )  # fmt: skip
    names = ("account", "container", "object", "proxy")
    commands = [[SWIFT_BIN / f"swift-{name}-server", etc / f"{name}-server.conf"] for name in names]
    with running(commands, range(first, first + 4), folder / "log"):
        yield S3Server("swift", f"http://127.0.0.1:{first}", "test:tester", "testing")


def _write_ini(path: Path, sections: Mapping[str, Mapping[str, str]]) -> None:
    lines = []
    for title, options in sections.items():
        lines += [f"[{title}]", *(f"{key} = {value}" for key, value in options.items()), ""]
    path.write_text("\n".join(lines), encoding="utf-8")
