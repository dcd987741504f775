"""What people see of a run: a progress bar while it goes, a table at its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO

import attrs

from wmtp.cli.session import nobody_reads

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from wmtp.evaluation.results import Results


UPLOAD = "upload"


@contextmanager
def progress() -> Iterator[Callable[[str, str, int], None] | None]:
    """A bar for each evaluator's samples and verdicts, and for what is fetched (with bytes a second), on stderr, if that is a
    terminal; else a line a minute."""
    if not sys.stderr.isatty():
        from wmtp.cli.progress_lines import ProgressLines

        yield ProgressLines().report
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from wmtp.evaluation.listeners import DOWNLOAD

    columns = (TextColumn("{task.description}"), BarColumn(), _amount(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[tuple[str, str], TaskID] = {}
        kept, moving = [0], {DOWNLOAD: "fetching", UPLOAD: "uploading"}

        def moved(what: str, event: str, count: int) -> None:
            if event == "total":
                kept[0] = 0
                tasks[what, "bytes"] = bars.add_task(moving[what], total=count, bytes=True)
            elif event == "kept":  # is no speed
                kept[0] += count
                bars.reset(tasks[what, "bytes"], completed=kept[0])
            else:
                bars.advance(tasks[what, "bytes"], count)

        def report(evaluator: str, event: str, count: int) -> None:
            if evaluator in moving:
                moved(evaluator, event, count)
                return
            for kind in ("sample", "verdict"):
                if (evaluator, kind) not in tasks:
                    tasks[evaluator, kind] = bars.add_task(f"{evaluator} {kind}s", total=None)
            if event == "total":
                for kind in ("sample", "verdict"):
                    bars.update(tasks[evaluator, kind], total=count)
            else:
                bars.advance(tasks[evaluator, event], count)

        yield report


def _amount() -> ProgressColumn:
    """How much of how much: counts as they are, bytes in their units and with their speed."""
    from rich.progress import DownloadColumn, MofNCompleteColumn, ProgressColumn, Task, TransferSpeedColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        def __init__(self) -> None:
            super().__init__()
            self._count, self._bytes, self._speed = MofNCompleteColumn(), DownloadColumn(), TransferSpeedColumn()

        def render(self, task: Task) -> Text:
            if not task.fields.get("bytes"):
                return self._count.render(task)
            return Text.assemble(self._bytes.render(task), " ", self._speed.render(task))

    return Amount()


@attrs.frozen
class Shown:
    """What `wmtp.evaluate` is given of a command: whom it tells of counts, and of the end."""

    progress: Callable[[str, str, int], None] | None
    finished: Callable[[Results], None]


@contextmanager
def told(*, as_json: bool) -> Iterator[Shown]:
    """Bars while a run goes; at its end they make room for what `finish` says, which waits for no listener.

    What plugins print meanwhile goes to stderr: stdout is for the run's own data.
    """
    out = sys.stdout
    with redirect_stdout(sys.stderr), ExitStack() as bars:
        report = bars.enter_context(progress())

        def finished(results: Results) -> None:
            bars.close()
            finish(results, out, as_json=as_json)

        yield Shown(report, finished)


def finish(results: Results, out: TextIO, *, as_json: bool) -> None:
    """The end of a run: its table, or its JSON, on `out`; what is missing on stderr."""
    import json

    import click

    text = json.dumps(results.to_json(), ensure_ascii=False) + "\n" if as_json else shown(results, out)
    with nobody_reads(out):
        out.write(text)
        out.flush()  # a slow listener may be waited for now, and a pipe shall have it all
    for line in results.shortcomings():
        click.echo(f"wmtp: {line}", err=True)
    if not results.complete:
        click.echo(
            "wmtp: the run is not complete; once what is said above is mended, the same command does what is missing",
            err=True,
        )


def shown(results: Results, out: TextIO) -> str:
    """The table of metrics as `out` can show it, and where the rest is."""
    from rich.console import Console
    from rich.table import Table

    from wmtp.evaluation.report import amount, span

    record = results.record
    table = Table(title=record.run.name, title_justify="left")
    for title in ("metric", "value", "95 % interval", "problems", "samples"):
        table.add_column(title, justify="left" if title == "metric" else "right", no_wrap=True)
    for name, metric in record.metrics.items():
        table.add_row(name, amount(metric), span(metric), str(metric.problems), str(metric.samples))
    console = Console(file=out, width=None if out.isatty() else 100)
    # narrower, and numbers would be cut: better that lines break
    console = Console(file=out, width=max(console.width, 72))
    with console.capture() as captured:
        console.print(table)
    lines = []
    speed, yielded = record.generation.tokens_per_second, record.generation.tokens_per_forward
    if speed is not None and yielded is not None:  # an engine whose every prompt was too long counts no forward
        lines.append(f"{speed:,.0f} tokens a second, {yielded:.2f} a forward pass and row")
    lines.append(os.path.join(record.run.directory, "report.md"))
    return captured.get() + "".join(f"{line}\n" for line in lines)
