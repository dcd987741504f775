"""Whole checkpoints go where the recipe wants them, beside training; what failed is tried again, now or by the next session."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import wmtp
from wmtp_train.folder import Checkpoint, TrainingFolder, read_json, write_json

log = logging.getLogger("wmtp.train")


class Uploads:
    """Uploads checkpoints one after the other on a thread of its own. ``train/uploaded.json`` says which have arrived."""

    def __init__(self, folder: TrainingFolder, to: str, send: Callable[[Path, str], object]) -> None:
        """to: the URL below which each gets its name. send: (folder, URL), returns when it is whole there, or raises."""
        self._record, self._to, self._send = folder.path / "uploaded.json", to.rstrip("/"), send
        self._done: dict[str, str] = read_json(self._record) if self._record.exists() else {}
        self._pending: dict[int, Checkpoint] = {}
        self._failed: dict[int, str] = {}
        self._queue: queue.SimpleQueue[Checkpoint | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="wmtp uploads", daemon=True)
        self._thread.start()
        for checkpoint in folder.whole():
            self.add(checkpoint)

    def add(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is whole; it is uploaded unless it has been."""
        if self._done.get(checkpoint.path.name) != self._url(checkpoint):
            self._pending[checkpoint.step] = checkpoint
            self._queue.put(checkpoint)

    @property
    def pending(self) -> set[int]:
        """Steps whose checkpoints must not be removed yet."""
        return set(self._pending)

    def finish(self) -> None:
        """Waits for all of them, and tries those that failed once more.

        Raises:
            WmtpError: Some have not arrived; they stay here, and the same command uploads them.
        """
        self._queue.put(None)
        self._thread.join()
        for checkpoint in [self._pending[step] for step in sorted(self._failed)]:
            self._one(checkpoint)
        if self._failed:
            step = min(self._failed)
            raise wmtp.WmtpError(
                f"{len(self._failed)} checkpoints are not at {self._to} (step {step}: {self._failed[step]}). The training is "
                "whole on this machine; the same command uploads what is missing."
            )

    def _url(self, checkpoint: Checkpoint) -> str:
        return f"{self._to}/{checkpoint.path.name}"

    def _run(self) -> None:
        while (checkpoint := self._queue.get()) is not None:
            self._one(checkpoint)

    def _one(self, checkpoint: Checkpoint) -> None:
        url = self._url(checkpoint)
        try:
            self._send(checkpoint.path, url)
        except (wmtp.WmtpError, OSError) as error:
            self._failed[checkpoint.step] = str(error)
            log.warning(
                "checkpoint of step %d was not uploaded to %s, and training goes on: %s", checkpoint.step, url, error
            )
            return
        self._done[checkpoint.path.name] = url
        write_json(self._record, self._done)
        self._failed.pop(checkpoint.step, None)
        self._pending.pop(checkpoint.step, None)
