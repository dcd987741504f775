"""Sends a run that has ended, or one that was made without trackers."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from wmtp.errors import ConfigError
from wmtp.events import RunStarted
from wmtp.runs.reader import open_run
from wmtp.tracking.follow import Order, send_all
from wmtp.tracking.journal import Artifact, Ended, Entry, Journal, Numbers, journal_path
from wmtp.tracking.listener import ARTIFACTS
from wmtp.tracking.numbers import results, tracked_run


@attrs.frozen(kw_only=True)
class Synced:
    """What was sent.

    Attributes:
        now: Numbers of this call.
        all: Numbers over all calls.
        refused: What the place does not take.
        shown: Where the run is seen.
    """

    now: int
    all: int
    refused: tuple[str, ...]
    shown: str


def sync_run(folder: Path, tracker: str, target: str, settings: Any) -> Synced:
    """Send what a tracker has not got of a run yet.

    Args:
        folder: The run folder.
        tracker: The tracker's name.
        target: What makes it; see `wmtp.TrackerSpec`.
        settings: Its settings.

    Raises:
        ConfigError: The run goes on now, has nothing to send, or the place does not answer.
    """
    if not journal_path(folder).exists():
        _journal_of_results(folder)
    done = send_all(Order(tracker=tracker, target=target, settings=settings, folder=folder.resolve()))
    return Synced(now=done.sent_now, all=done.sent, refused=tuple(done.refused), shown=done.shown)


def _journal_of_results(folder: Path) -> None:
    """A run that was made without trackers has no journal; its results are one, with the time at which they were written."""
    record = open_run(folder).record
    if record is None:
        raise ConfigError(f"{folder} has neither a journal of trackers nor results.json: there is nothing to send")
    ended = datetime.fromisoformat(record.run.finished).timestamp()
    started = RunStarted(
        name=record.run.name, kind="evaluation", folder=folder, config=record.config, recipe=record.recipe
    )
    entries: list[Entry] = [tracked_run(started, ended - record.run.seconds)]
    entries.append(Numbers(values=results(record), step=0, time=ended, result=True))
    entries += [Artifact(file=name) for name in ARTIFACTS if (folder / name).is_file()]
    entries.append(Ended(status="finished", time=ended))
    journal = Journal(folder)
    try:
        for entry in entries:
            journal.add(entry)
    finally:
        journal.close()


__all__ = ["Synced", "sync_run"]
