"""The journal of a download: which ranges are on the disk, and what they hold. A killed process's successor goes on from it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from uuid import uuid4

from wmtp import json_text


class Journal:
    """Finished ranges, one line each, appended as they finish; a torn last line is ignored.

    What a killed process wrote stays in the kernel's hands, so ranges are not synced one by one. A machine that went down
    may have lost them: the first line names the boot they belong to, and a journal of another boot counts for nothing.

    done: (object, start of the range) → sha256 of the range.
    """

    def __init__(self, path: Path, range_bytes: int) -> None:
        self._lock = threading.Lock()
        self.done: dict[tuple[str, int], str] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        first = json.dumps({"boot": _boot(), "range_bytes": range_bytes})
        resumed = bool(lines) and lines[0] == first
        for line in lines[1:] if resumed else ():
            try:
                name, start, digest = json_text.loads(line)
            except ValueError:
                continue
            self.done[name, start] = digest
        self._file = path.open("a" if resumed else "w", encoding="utf-8")
        # A torn line is ended, so that the next one stands on its own.
        self._file.write("\n" if resumed else f"{first}\n")
        self._file.flush()

    def add(self, name: str, start: int, digest: str) -> None:
        with self._lock:
            self.done[name, start] = digest
            self._file.write(json.dumps([name, start, digest]) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def _boot() -> str:
    """Which start of this machine this is. Where the kernel does not say, nothing is taken over."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return uuid4().hex
