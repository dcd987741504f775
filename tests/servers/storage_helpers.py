"""Storages and downloads as the tests of storages want them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import wmtp


def put(storage: Any, key: str, data: bytes) -> wmtp.Entry:
    entry: wmtp.Entry = storage.put(key, data, sha256=hashlib.sha256(data).hexdigest())
    return entry


def opened(section: dict[str, Any]) -> Any:
    from wmtp_s3 import create_s3_manager

    made = create_s3_manager({"storage": {"mode": "s3", "s3": section}})
    assert made is not None
    return made


DOWNLOAD = """
import json, os, sys, threading
from pathlib import Path
from wmtp.storage import content, transfer
from wmtp.storage.cache import Cache
from wmtp_s3 import create_s3_manager
section, cache, piece, limit = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
content.PIECE_BYTES = piece
seen, lock = 0, threading.Lock()
def report(event, count):
    global seen
    if event == "bytes":
        with lock:
            seen += count
            if 0 <= limit <= seen:
                os.kill(os.getpid(), 9)
storage = create_s3_manager({"storage": {"mode": "s3", "s3": section}})
transfer.download(storage, list(storage.list("models/m/")), "models/m/", Cache(cache), "source", report)
"""


def downloading(section: dict[str, Any], cache: Path, piece: int, limit: int = -1, before: str = "") -> Any:
    """A process that fetches ``models/m/`` into a cache, and kills itself (-9) once it has got `limit` bytes.

    before: Python that it runs first.
    """
    command = [sys.executable, "-c", before + DOWNLOAD, json.dumps(section), str(cache), str(piece), str(limit)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
