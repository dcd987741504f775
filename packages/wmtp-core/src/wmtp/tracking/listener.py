"""The listener that keeps a run's journal, and starts a process beside the run for each tracker."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from wmtp.contracts.runs import RunRecord
from wmtp.contracts.tracking import Ending
from wmtp.events import (
    CheckpointEvaluated,
    CheckpointSaved,
    Event,
    ProgressTotals,
    RunFinished,
    RunStarted,
    SampleJudged,
    StageFinished,
    StepLogged,
)
from wmtp.tracking.beside import Beside
from wmtp.tracking.journal import Artifact, Ended, Journal, Link, Numbers
from wmtp.tracking.numbers import results, tracked_run

log = logging.getLogger("wmtp.tracking")
ARTIFACTS = ("results.json", "report.md", "recipe.yaml")
PROGRESS_EVERY_S = 10.0


class JournalListener:
    """Writes what trackers are to hear into the run's journal. It waits for nobody but the disk, until the run has ended."""

    def __init__(self, folder: Path, followers: Sequence[Beside]) -> None:
        self._folder, self._journal, self._followers = folder, Journal(folder), followers
        self._judged: dict[str, int] = {}
        self._said = time.monotonic()

    def handle(self, event: Event) -> None:
        """Add what the event says to the journal."""
        now = time.time()
        match event:
            case RunStarted():
                self._journal.add(tracked_run(event, now))
                for follower in self._followers:
                    follower.start()
            case StepLogged():
                self._journal.add(Numbers(values=dict(event.values), step=event.step, time=event.time))
            case CheckpointSaved():
                self._journal.add(Link(name=f"checkpoint.{event.step}", target=str(event.path)))
            case CheckpointEvaluated():
                self._results(event.record, event.step, event.time)
            case StageFinished():
                values = {f"seconds/{event.name}": event.seconds}
                self._journal.add(Numbers(values=values, step=0, time=now, result=True))
            case ProgressTotals():
                self._judged[event.evaluator] = event.verdicts
            case SampleJudged():
                self._progress(event.sample.key.evaluator, now)
            case RunFinished():
                self._finished(event, now)
            case _:
                pass

    def _progress(self, evaluator: str, now: float) -> None:
        count = self._judged[evaluator] = self._judged.get(evaluator, 0) + 1
        if time.monotonic() - self._said >= PROGRESS_EVERY_S:
            self._said = time.monotonic()
            self._journal.add(Numbers(values={f"judged/{evaluator}": float(count)}, step=count, time=now))

    def _results(self, record: RunRecord, step: int, now: float) -> None:
        self._journal.add(Numbers(values=results(record), step=step, time=now, result=True))

    def _finished(self, event: RunFinished, now: float) -> None:
        if event.record is not None:
            if event.kind == "evaluation":  # a training's were told checkpoint by checkpoint, each at its step
                self._results(event.record, 0, now)
            for name in ARTIFACTS:
                if (self._folder / name).is_file():
                    self._journal.add(Artifact(file=name))
        status: Ending
        stopped = event.error is not None and not isinstance(event.error, Exception)  # ctrl-C, SIGTERM
        status = "killed" if stopped else "failed" if event.error is not None else "finished"
        self._journal.add(Ended(status=status, time=now))

    def close(self) -> None:
        """Wait for the followers as long as they get on, and say what they did."""
        self._journal.close()
        for follower in self._followers:
            follower.finish()
        for follower in self._followers:
            follower.wait()


__all__ = ["JournalListener"]
