"""``wmtp report``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN…]", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; by default RUN/report.html, or FILE.report.html beside another tool's file; of several runs, compared.html "
    "in place of report.html, with the last one.",
)
@click.option(
    "--despite", multiple=True, metavar="KEY", help="Compare although the runs differ in KEY. May be repeated."
)
def command(runs: tuple[Path, ...], to: Path | None, despite: tuple[str, ...]) -> None:
    """Write report.html of a run, or compared.html of several and the first: one file that opens from disk.

    A run is the folder of a finished run, or a file of another tool, as for wmtp compare.
    """
    from wmtp.reports.html import write_report

    click.echo(str(write_report(runs, to, despite=despite)))
