"""``wmtp runs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wmtp.cli.session import echo_json

if TYPE_CHECKING:
    from wmtp.runs.reader import Run


@click.group(name="runs", short_help="List runs: their state, and their metrics.")
def command() -> None:
    """List runs: their state, and their metrics."""


@command.command(name="list")
@click.option("--runs", "folder", type=click.Path(file_okay=False), default="runs", help="Folder of run folders.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(folder: str, as_json: bool) -> None:
    """Every run in a folder of runs: its name, state, metrics.

    States: complete; incomplete (something is missing, or an evaluator failed); unfinished (no results yet); running (a process
    is working in it); damaged (its files cannot be read, or hold less than its results count).
    """
    from wmtp.runs.printable import one_line
    from wmtp.runs.reader import list_runs

    rows = [_row(run) for run in list_runs(folder)]
    if as_json:
        echo_json({"runs": rows})
        return
    for row in rows:
        metrics = ", ".join(f"{name} {_shown(metric)}" for name, metric in row["metrics"].items())
        parts = (row["name"], row["state"], row["finished"], metrics, row["error"])
        click.echo(one_line("  ".join(part for part in parts if part)))


def _row(run: Run) -> dict[str, Any]:
    from wmtp.runs.record import to_json

    state = run.state
    row: dict[str, Any] = {
        "name": run.name, "folder": str(run.folder), "state": state, "finished": "", "metrics": {},
        "error": "; ".join((*run.faults, *run.missing)),
    }  # fmt: skip
    if run.faults or run.record is None:  # numbers of a run that is not whole are not shown
        return row
    return {**row, "finished": run.record.run.finished, "metrics": to_json(run.record)["metrics"]}


def _shown(metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return "—"
    return f"{metric['value']:.3f} {metric['unit']}" if metric.get("unit") else f"{100 * metric['value']:.1f} %"
