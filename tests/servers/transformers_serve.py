"""``transformers serve`` with a model of a folder, as a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from s3_servers import free_ports


@contextlib.contextmanager
def transformers_server(model: Path, log: Path, dtype: str = "float32") -> Iterator[str]:
    """Its address, from when it answers until the end of the block."""
    port = free_ports(1)
    command = [
        sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", str(model),
        "--port", str(port), "--host", "127.0.0.1", "--device", "cpu", "--dtype", dtype,
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                yield f"http://127.0.0.1:{port}/v1"
                return
            time.sleep(0.5)
        raise RuntimeError(log.read_text(errors="replace")[-2000:])
    finally:
        process.kill()
        process.wait()
