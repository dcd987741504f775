"""Who listens to a run: the bars of the command line, observers' hooks, trackers that config.yaml names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wmtp.events import BytesMoved, Event, ProgressTotals, RunFinished, RunStarted, SampleGenerated, SampleJudged
from wmtp.plugins import Plugins
from wmtp.runs.record import to_json

Progress = Callable[[str, str, int], None]
"""Called with (evaluator, ``"total"`` | ``"sample"`` | ``"verdict"``, count) as things happen, and with
(`DOWNLOAD`, ``"total"`` | ``"kept"`` | ``"bytes"``, count) while a model or data set is fetched; on a thread of its own."""
DOWNLOAD = "download"


class ProgressListener:
    """Counts for a progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def handle(self, event: Event) -> None:
        if isinstance(event, ProgressTotals):
            for kind, count in (("total", event.total), ("sample", event.samples), ("verdict", event.verdicts)):
                self._progress(event.evaluator, kind, count)
        elif isinstance(event, SampleGenerated):
            self._progress(event.sample.key.evaluator, "sample", 1)
        elif isinstance(event, SampleJudged):
            self._progress(event.sample.key.evaluator, "verdict", 1)
        elif isinstance(event, BytesMoved):
            self._progress(event.direction, event.event, event.count)

    def close(self) -> None:
        """Nothing is held."""


class HookListener:
    """Observers' hooks: ``wmtp_run_started``, ``wmtp_sample_judged``, ``wmtp_run_finished``."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def handle(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._plugins.notify("wmtp_run_started", run_name=event.name, metrics=event.metrics)
        elif isinstance(event, SampleJudged):
            self._plugins.notify("wmtp_sample_judged", sample=event.sample, verdict=event.verdict)
        elif isinstance(event, RunFinished):
            results = to_json(event.record) if event.record else None
            self._plugins.notify("wmtp_run_finished", run_name=event.name, results=results, error=event.error)

    def close(self) -> None:
        """Nothing is held."""


def run_listeners(plugins: Plugins, config: Any, run: RunStarted) -> list[tuple[str, Any]]:
    """Who hears of a run beside its own command: observers' hooks, and the trackers that config.yaml asks for.

    Args:
        plugins: Whose hooks and trackers.
        config: A `wmtp.Config`.
        run: The run's first event.

    Returns:
        (name for messages, listener) of each, as `wmtp.events.Emitter` takes them.
    """
    observers = [("observers", HookListener(plugins))] if plugins.observed else []
    return [*observers, *trackers(config.sections.get("tracking"), plugins, run)]


def trackers(sections: Any, plugins: Plugins, run: RunStarted) -> list[tuple[str, Any]]:
    """The trackers that ``tracking.<name>`` of config.yaml asks for, made with its settings and what is known of the run.

    The journal of what is no evaluation is kept without any, too: its results do not hold all that ``wmtp track sync`` sends.
    """
    if not sections and run.kind == "evaluation":
        return []
    from wmtp.tracking.beside import Beside  # a command that nobody tracks starts without
    from wmtp.tracking.listener import JournalListener

    heard: list[tuple[str, Any]] = []
    beside: list[Beside] = []
    for name, settings in (sections or {}).items():
        spec = plugins.trackers[name].spec
        if spec.create is not None:
            heard.append((f"tracker {name}", spec.create(settings, run)))
        else:
            beside.append(Beside(name, spec.target, settings, run.folder))
    if beside or run.kind != "evaluation":
        heard.append(("journal of the trackers", JournalListener(run.folder, beside)))
    return heard
